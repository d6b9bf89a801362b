import { StatefulActor } from "@tenure/edge-runtime";

/** One number that survives restarts. There is one Counter for each name, and it runs one method at a time. */
export class Counter extends StatefulActor {
  /** Adds `amount` and returns the new value. Reading and writing cannot interleave with another call's. */
  async add(amount: number): Promise<number> {
    if (!Number.isSafeInteger(amount)) throw new RangeError("amount must be a whole number");
    const value = (await this.value()) + amount;
    await this.ctx.storage.put("value", value);
    return value;
  }

  async value(): Promise<number> {
    return (await this.ctx.storage.get<number>("value")) ?? 0;
  }

  async reset(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}
