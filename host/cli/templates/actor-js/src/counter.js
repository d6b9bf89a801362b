import { StatefulActor } from "@telnyx/edge-runtime";

/** One number per name. Each name is an actor of its own, and its storage outlives restarts. */
export class Counter extends StatefulActor {
  /** Add `by` and return the new value. */
  async increment(by = 1) {
    const value = ((await this.ctx.storage.get("value")) ?? 0) + by;
    await this.ctx.storage.put("value", value);
    return { value };
  }

  /** The value as it is. */
  async value() {
    return { value: (await this.ctx.storage.get("value")) ?? 0 };
  }
}
