import { StatefulActor } from "@tenure/edge-runtime";
import { run, type Runner, type Step } from "./script.ts";

/** Runs scripts. The one kept under the key "boot" runs in the constructor, the one under "on-alarm" in the alarm. */
export class Probe extends StatefulActor<any> {
  readonly #memory: string[] = [];

  constructor(ctx: any, env: any) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      const boot = await ctx.storage.get("boot");
      if (boot !== undefined) await this.run(boot);
    });
  }

  get #runner(): Runner {
    return { env: this.env, storage: this.ctx.storage, memory: this.#memory };
  }

  async run(steps: Step[]): Promise<unknown[]> {
    return run(this.#runner, steps);
  }

  async add(item: unknown): Promise<unknown[]> {
    const items = [...((await this.ctx.storage.get<unknown[]>("items")) ?? []), item];
    await this.ctx.storage.put("items", items);
    return items;
  }

  /** Begins, waits and ends, so that a turn that came between would be seen. */
  async hold(tag: string, ms: number): Promise<string[]> {
    this.#memory.push(`${tag} begins`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.ctx.storage.put("last", tag);
    this.#memory.push(`${tag} ends`);
    return this.#memory.slice();
  }

  async whoami(): Promise<string> {
    return this.ctx.id;
  }

  _hidden(): string {
    return "never seen";
  }

  field = "not a method";

  override async fetch(request: Request): Promise<Response> {
    return Response.json(await this.run((await request.json()) as Step[]));
  }

  async alarm(info: { retryCount: number; isRetry: boolean }): Promise<void> {
    const script = await this.ctx.storage.get<Step[]>("on-alarm");
    const fired = (await this.ctx.storage.get<unknown[]>("fired")) ?? [];
    await this.ctx.storage.put("fired", [...fired, [Date.now(), info.retryCount, info.isRetry]]);
    if (script !== undefined) await this.run(script);
  }
}

export class Account extends StatefulActor {
  async deposit(amount: number): Promise<number> {
    const balance = ((await this.ctx.storage.get<number>("balance")) ?? 0) + amount;
    await this.ctx.storage.put("balance", balance);
    return balance;
  }

  async debit(amount: number): Promise<{ ok: boolean; balance: number }> {
    const balance = (await this.ctx.storage.get<number>("balance")) ?? 0;
    if (balance < amount) return { ok: false, balance };
    await this.ctx.storage.put("balance", balance - amount);
    return { ok: true, balance: balance - amount };
  }
}

const memory: string[] = [];

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    return Response.json(await run({ env, memory }, (await request.json()) as Step[]));
  },
};
