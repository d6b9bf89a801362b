import { StatefulActor } from "@telnyx/edge-runtime";

export class Counter extends StatefulActor {
  async add(amount: number): Promise<number> {
    const count = ((await this.ctx.storage.get<number>("count")) ?? 0) + amount;
    await this.ctx.storage.put("count", count);
    console.log(`count is ${count}`);
    return count;
  }

  refuse(): never {
    throw new RangeError("not here");
  }
}
