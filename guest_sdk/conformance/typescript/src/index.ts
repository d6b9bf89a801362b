/** The conformance guest of the TypeScript SDK: what ../../README.md asks of such a guest, and nothing else. */
import { StatefulActor, type AlarmInfo } from "@tenure/edge-runtime";
import { run, type Runner, type Step } from "./script.ts";

class Base extends StatefulActor<any> {
  inherited(): string {
    return "from the base";
  }

  overridden(): string {
    return "from the base";
  }
}

export class Probe extends Base {
  readonly #memory: unknown[] = [];
  property = "not a method";
  arrow = () => "not a method either";

  constructor(ctx: any, env: any) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      const boot = await ctx.storage.get("boot");
      if (boot !== undefined) await this.run(boot);
    });
  }

  get #runner(): Runner {
    return { env: this.env, ctx: this.ctx, memory: this.#memory };
  }

  async run(steps: Step[]): Promise<unknown[]> {
    return run(this.#runner, steps);
  }

  echo(...values: unknown[]): unknown {
    return values.length === 1 ? values[0] : values;
  }

  nothing(): void {}

  override overridden(): string {
    return `from the class, over: ${super.overridden()}`;
  }

  get computed(): () => string {
    return () => "not a method";
  }

  static shared(): string {
    return "not a method of the actor";
  }

  _hidden(): string {
    return "never seen";
  }

  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname !== "/run") {
      const seen = [request.method, url.pathname + url.search, request.headers.get("x-tag"), await request.text()];
      return Response.json(seen, { status: 201, headers: { "x-reply": "yes" } });
    }
    return Response.json(await this.run((await request.json()) as Step[]));
  }

  override async alarm({ retryCount, isRetry }: AlarmInfo): Promise<void> {
    const { storage } = this.ctx;
    const fired = (await storage.get<unknown[]>("fired")) ?? [];
    await storage.put("fired", [...fired, [retryCount, isRetry]]);
    this.#memory.push(`alarm ${retryCount}`);
    const script = await storage.get<Step[]>("on-alarm");
    if (script !== undefined) await this.run(script);
  }
}

/** Only what the base class gives, and one method. */
export class Plain extends StatefulActor {
  name(): string {
    return this.ctx.id;
  }
}

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    return Response.json(await run({ env, memory: [] }, (await request.json()) as Step[]));
  },
};
