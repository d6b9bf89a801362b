/** Actors that attack from each place where their code runs. */
import { StatefulActor, type ActorNamespace } from "@tenure/edge-runtime";
import { attacks, type Attack } from "./attacks.ts";

export interface Env {
  HOSTILE: ActorNamespace<Hostile>;
  BOOTING: ActorNamespace<Booting>;
}

export class Hostile extends StatefulActor<Env> {
  async attack(name: Attack, ...args: any[]): Promise<unknown> {
    return (attacks[name] as (...args: any[]) => unknown)(...args);
  }
  /** Writes, then attacks: nothing of the turn may stay. */
  async writeAndSpin() {
    await this.ctx.storage.put("count", 1_000_000);
    return attacks.spin();
  }
  async count() {
    const next = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", next);
    return next;
  }
  /** More operations at once than a call may have. */
  async flood(count: number) {
    return (await Promise.all(Array.from({ length: count }, (_, n) => this.env.HOSTILE.idFromName(`flood-${n % 8}`).count())))
      .length;
  }
  /** Many keys with next to nothing in them, from `first` on; how many there are in this turn when it is refused. */
  async tiny(count: number, first = 0) {
    let number = 0;
    try {
      for (; number < count; number++) await this.ctx.storage.put((first + number).toString(36), 0);
    } catch (error) {
      return [(error as Error).name, number];
    }
    return number;
  }
  async untiny(count: number) {
    for (let number = 0; number < count; number++) await this.ctx.storage.delete(number.toString(36));
  }
  /** Returns before its transaction has ended. */
  async leaveOpen() {
    void this.ctx.storage.transaction(async (txn) => {
      await txn.put("left", 1);
      await new Promise((done) => setTimeout(done, 10));
    });
    await this.ctx.storage.put("kept", 1);
  }
  /** A value that many levels deep, written or returned; [name, message] of the error that it is. */
  async deep(levels: number, how: "put" | "return" | "send"): Promise<unknown> {
    let value: unknown = 0;
    for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { value };
    if (how === "return") return value;
    try {
      if (how === "put") await this.ctx.storage.put("deep", value);
      else await (this.env.HOSTILE.idFromName("deep-callee") as any).get(value);
    } catch (error) {
      return [(error as Error).name, (error as Error).message];
    }
  }
  /** What becomes of the alarm: its time, or the error's name. */
  async alarms(which: number): Promise<unknown> {
    const times = [NaN, Infinity, "soon", {}, new Date(NaN), 1e300, -1e300, 8.64e15 + 2, 8.64e15, -8.64e15, -0.5];
    try {
      await this.ctx.storage.setAlarm(times[which] as any);
      return await this.ctx.storage.getAlarm();
    } catch (error) {
      return (error as Error).name;
    } finally {
      await this.ctx.storage.deleteAlarm();
    }
  }
  async put(key: string, value: unknown) {
    await this.ctx.storage.put(key, value);
  }
  async get(key: string) {
    return this.ctx.storage.get(key);
  }
  async list(options: object) {
    return [...(await this.ctx.storage.list(options)).keys()];
  }
  async alarm() {}
}

/** Its methods are named like what the language asks for. */
export class Named extends StatefulActor<Env> {
  async toJSON() {
    return "toJSON was called";
  }
  override toString() {
    return "toString was called";
  }
  async hasOwnProperty() {
    return "hasOwnProperty was called" as any;
  }
  async count() {
    return 1;
  }
}

/** Resolving a promise with it never ends well. */
export class Thenable extends StatefulActor<Env> {
  async then(done: (value: unknown) => void) {
    done("then was called");
  }
  async count() {
    return 1;
  }
}

/** What its constructor does is the beginning of its name. "mended" in storage mends it. */
export class Booting extends StatefulActor<Env> {
  constructor(ctx: any, env: Env) {
    super(ctx, env);
    const kind = ctx.id.split("-")[0];
    if (kind === "throws") throw new RangeError("no actor today");
    if (kind === "spins") attacks.spin();
    if (kind === "blocks") ctx.blockConcurrencyWhile(() => new Promise((done) => setTimeout(done, 60_000)));
    if (kind === "stalls") ctx.blockConcurrencyWhile(() => new Promise(() => {}));
    if (kind === "rejects") ctx.blockConcurrencyWhile(() => Promise.reject(new RangeError("no actor today")));
    if (kind === "recurses") attacks.recurse();
  }
  async hello() {
    return "hello";
  }
}
