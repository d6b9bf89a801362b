/** The guest that test_guest.py drives: a method for each claim about the SDK that only a real guest can show. */
import { CodecError, StatefulActor, env as moduleEnv } from "@tenure/edge-runtime";

const builtAt = Date.now();
let randomAtBuild = "";
try {
  Math.random();
} catch (error) {
  randomAtBuild = (error as Error).message;
}

class Base extends StatefulActor<any> {
  /** An actor is no promise, whatever its methods are called: were it taken for one, no call of it would ever end. */
  then(): string {
    return "a method like any other";
  }

  inherited() {
    return "from the base";
  }
}

export class Probe extends Base {
  started: string[] = [];
  arrow = () => "not callable";

  constructor(ctx: any, env: any) {
    super(ctx, env);
    if (ctx.id === "breaks") throw new RangeError("no start");
    if (ctx.id === "begins") void Promise.resolve().then(() => this.started.push("began"));
    if (ctx.id.startsWith("blocks")) {
      void ctx.blockConcurrencyWhile(async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (ctx.id === "blocks-and-breaks") throw new RangeError("no start");
        this.started.push("blocked");
        await ctx.storage.put("started", 1);
      });
    }
  }

  get getter() {
    return () => 1;
  }

  startedBy() {
    return this.started;
  }

  echo(value: unknown) {
    return value;
  }

  evaluate(expression: string) {
    return (0, eval)(`(${expression})`);
  }

  depth(n: number): number {
    return n === 0 ? 0 : 1 + this.depth(n - 1);
  }

  nothing() {}

  _hidden() {}

  throws() {
    throw new TypeError("on purpose");
  }

  throwsText() {
    throw "just text";
  }

  throwsHostile() {
    throw { get message() { throw 1; } };
  }

  leavesRejection() {
    void Promise.reject(new Error("nobody looks"));
    return "still here";
  }

  returnsFunction() {
    return { deep: [() => 1] };
  }

  recurses(): number {
    return 1 + this.recurses();
  }

  hoards(caught: boolean): unknown {
    const kept: Uint8Array[] = [];
    try {
      for (;;) kept.push(new Uint8Array(1 << 20).fill(1));
    } catch (error) {
      if (!caught) throw error;
      return (error as Error).message;
    }
  }

  async order() {
    const order: number[] = [];
    await Promise.all([30, 1, 15].map((ms) => new Promise<void>((r) => setTimeout(() => (order.push(ms), r()), ms))));
    return order;
  }

  async interval() {
    let ticks = 0;
    await new Promise<void>((resolve) => {
      const id = setInterval(() => { if (++ticks === 3) { clearInterval(id); resolve(); } }, 1);
    });
    return ticks;
  }

  async fanOut() {
    const stubs = ["a", "b", "c"].map((name) => this.env.PROBE.idFromName(name));
    return Promise.all(stubs.map((stub) => stub.echo(stub.id)));
  }

  async caught() {
    try {
      await this.env.PROBE.idFromName("other").throws();
      return null;
    } catch (error: any) {
      return [error.name, error.message, error.cause.name, error.constructor.name, error instanceof Error];
    }
  }

  async refusedArgument() {
    try {
      await this.env.PROBE.idFromName("other").echo({ list: [1, { when: Symbol("x") }] });
      return null;
    } catch (error) {
      return [(error as Error).name, (error as Error).message, error instanceof CodecError];
    }
  }

  async stubs() {
    const stub = await this.env.PROBE.idFromName("x");
    const made = this.env.PROBE.newUniqueId();
    return [stub.id, typeof stub.then, /^[0-9a-f]{32}$/.test(made.id), JSON.stringify(stub), await made.echo(7)];
  }

  async stubFetch() {
    const stub = this.env.PROBE.idFromName("y");
    const response = await stub.fetch("http://actor/path?q=1", { method: "POST", body: "hi", headers: { "X-A": "1" } });
    return [response.status, response.headers.get("x-b"), await response.text()];
  }

  override async fetch(req: Request) {
    const text = `${req.method} ${new URL(req.url).search} ${req.headers.get("x-a")} ${await req.text()}`;
    return new Response(text, { status: 201, headers: { "x-b": "2" } });
  }

  override async alarm(info: any) {
    await this.ctx.storage.put("alarm", info);
  }

  async storage() {
    const { storage } = this.ctx;
    await storage.put({ a: 1, b: new Date(5), c: undefined, "é": [1n] });
    await storage.put("z", new Map([["k", new Set([NaN])]]));
    const seen: unknown[] = [
      await storage.get("a"), await storage.get("b"), await storage.get("c"), await storage.get("missing"),
      [...(await storage.get(["z", "nope", "a"])).keys()], [...(await storage.list()).keys()],
      [...(await storage.list({ startAfter: "a", end: "z" })).keys()],
      [...(await storage.list({ reverse: true, limit: 2 })).entries()],
      await storage.delete("a"), await storage.delete("a"), await storage.delete(["b", "c", "d"]),
    ];
    await storage.deleteAll();
    seen.push((await storage.list()).size);
    return seen;
  }

  async refusals() {
    const { storage } = this.ctx;
    const tries: (() => Promise<unknown>)[] = [
      () => storage.get(""), () => storage.put("__telnyx_x", 1), () => storage.put("__tenure_x", 1),
      () => storage.put("k".repeat(2049), 1), () => storage.put("é".repeat(1025), 1), () => storage.put("\ud800", 1),
      () => storage.get(5 as any), () => storage.list({ start: "a", startAfter: "b" }),
      () => storage.list({ limit: 1001 }), () => storage.list({ limit: 1.5 }), () => storage.put("f", () => 1),
      () => storage.put("big", "x".repeat(2 << 20)), () => storage.setAlarm(NaN), () => (storage as any).put("only"),
      () => this.env.PROBE.idFromName(""), () => this.env.PROBE.idFromName("n".repeat(1025)),
    ];
    const names: string[] = [];
    for (const one of tries) {
      try {
        await one();
        names.push("none");
      } catch (error) {
        names.push((error as Error).name);
      }
    }
    await storage.put("k".repeat(2048), 1);
    return names;
  }

  async transactions() {
    const { storage } = this.ctx;
    await storage.put("n", 1);
    const kept = await storage.transaction(async (txn) => {
      await txn.put("n", 2);
      return txn.get("n");
    });
    let caught = "";
    await storage.transaction(async (txn) => {
      await txn.put("n", 3);
      throw new Error("no");
    }).catch((error) => (caught = error.message));
    await storage.transaction(async (txn) => {
      await txn.put("n", 4);
      txn.rollback();
    });
    return [kept, caught, await storage.get("n")];
  }

  async alarms() {
    const { ctx } = this;
    const before = await ctx.storage.getAlarm();
    await ctx.setAlarm(new Date(1234));
    const set = await ctx.storage.getAlarm();
    await ctx.storage.deleteAlarm();
    return [before, set, await ctx.getAlarm()];
  }

  clocks() {
    const now = Date.now();
    const [a, b] = [Math.random(), Math.random()];
    class Later extends Date {}
    return [
      builtAt, randomAtBuild, now > 1.6e12, Math.abs(new Date().getTime() - now) < 1000, new Date() instanceof Date,
      new Later() instanceof Date, new Date(0).getTimezoneOffset(), new Date(2020, 0, 1).toISOString(),
      typeof Date(), a !== b && a >= 0 && a < 1, /^[0-9a-f]{8}-[0-9a-f]{4}-4/.test(crypto.randomUUID()),
      crypto.getRandomValues(new Uint8Array(8)).length, performance.now() >= 0,
    ];
  }

  async platform() {
    const url = new URL("http://user@Example.com:80/a/../b c?x=1#h");
    url.searchParams.append("y", "a b&");
    url.pathname = "/new";
    const plain = new URL("https://a.example:8443/p/q?x=1&x=2#f");
    const long = "ünïcödé ".repeat(50);
    const bytes = new TextEncoder().encode(long);
    const clone = structuredClone({ d: new Date(1), m: new Map([[1, { a: [1] }]]) });
    const aborted = AbortSignal.timeout(1);
    await new Promise((resolve) => aborted.addEventListener("abort", resolve));
    console.log("seen %s", { a: [1, "x"], at: new Date(0) }, 5n);
    console.error(new RangeError("logged"));
    return [
      url.href, plain.host, plain.searchParams.getAll("x"), plain.pathname, new TextDecoder().decode(bytes) === long,
      bytes.length, clone.m.get(1), aborted.reason.name, (await new Response(bytes).text()) === long,
      await new Response(new Uint8Array([0xff, 0x41])).text(), URL.canParse("nope"),
    ];
  }

  async environment() {
    return [
      this.env === moduleEnv, this.env.GREETING, await this.env.SECRETS.get("KEY"), await this.env.SECRETS.get("NO"),
      this.ctx.id,
    ];
  }
}

export default {
  async fetch(req: Request, env: any): Promise<Response> {
    const { pathname } = new URL(req.url);
    if (pathname === "/throws") throw new TypeError("handler");
    if (pathname === "/nothing") return undefined as any;
    if (pathname === "/binary") return new Response(await req.arrayBuffer());
    if (pathname === "/stream") {
      return new Response(ReadableStream.from(["one ", "two"].map((text) => new TextEncoder().encode(text))));
    }
    if (pathname === "/cookies") {
      return new Response(null, { status: 204, headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["X-Y", "z"]] });
    }
    if (pathname === "/never") return new Promise(() => {});
    return Response.json({
      same: env === moduleEnv, headers: [...req.headers], body: await req.clone().text(), json: await req.json(),
    }, { headers: { "x-seen": "yes" } });
  },
};
