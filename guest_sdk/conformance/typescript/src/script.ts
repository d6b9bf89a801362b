/** The vocabulary of ../../README.md: a script is a list of steps, `[word, ...arguments]`, and gives a list of results. */
import * as sdk from "@tenure/edge-runtime";

export type Step = [string, ...any[]];
type Scope = any; // storage or a transaction, whose types refuse the odd calls that tables make on purpose

export interface Runner {
  readonly env: any;
  readonly ctx?: any;
  /** What this activation keeps in memory. */
  readonly memory: unknown[];
}

export async function run(runner: Runner, steps: Step[], scope: Scope = runner.ctx?.storage): Promise<unknown[]> {
  const results = [];
  for (const step of steps) results.push(await take(runner, step, scope));
  return results;
}

function thrown(name: string, message: string): Error {
  const error = new Error(message);
  error.name = name;
  return error;
}

async function attempt(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return { gave: await work() };
  } catch (error: any) {
    const kind = (sdk as Record<string, unknown>)[error.name] ?? (globalThis as any)[error.name];
    const typed = typeof kind === "function" && error instanceof kind;
    return { threw: error.name, message: error.message, cause: error.cause?.name ?? null, typed };
  }
}

function unsendable(kind: string): unknown {
  switch (kind) {
    case "function": return { a: [() => 1] };
    case "instance": return { a: [new (class Point {})()] };
    case "promise": return { a: [Promise.resolve(1)] };
    case "cycle": {
      const value: { a: unknown[] } = { a: [] };
      value.a.push(value);
      return value;
    }
    default: throw new Error(`nothing unsendable is called ${kind}`);
  }
}

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const recurse = (depth: number): number => 1 + recurse(depth + 1);

async function take(runner: Runner, step: Step, scope: Scope): Promise<unknown> {
  const [word, ...args] = step;
  switch (word) {
    case "get": return scope.get(args[0]);
    case "put": return scope.put(...args);
    case "delete": return scope.delete(args[0]);
    case "list": return scope.list(...args);
    case "transaction": return runner.ctx.storage.transaction((txn: Scope) => run(runner, args[0], txn));
    case "rollback": return scope.rollback();
    case "delete-all": return scope.deleteAll();
    case "set-alarm": return scope.setAlarm(args[0]);
    case "set-alarm-in": return scope.setAlarm(Date.now() + args[0]);
    case "alarm-in": return scope.getAlarm().then((at: number | null) => at && at - Date.now());
    case "get-alarm": return scope.getAlarm();
    case "delete-alarm": return scope.deleteAlarm();
    case "ctx-set-alarm-in": return runner.ctx.setAlarm(new Date(Date.now() + args[0]));
    case "ctx-get-alarm": return runner.ctx.getAlarm();
    case "ctx-delete-alarm": return runner.ctx.deleteAlarm();
    case "try": return attempt(() => take(runner, args[0], scope));
    case "all": return Promise.all(args[0].map((one: Step) => take(runner, one, scope)));
    case "put-unsendable": return scope.put(args[0], unsendable(args[1]));
    case "put-nested": return scope.put(args[0], nested(args[1]));
    case "unsendable": return unsendable(args[0]);
    case "nested": return nested(args[0]);
    case "block": return runner.ctx.blockConcurrencyWhile(() => run(runner, args[0], scope));
    case "remember": runner.memory.push(args[0]); return undefined;
    case "recall": return runner.memory.slice();
    case "pause": return pause(args[0]);
    case "throw": throw thrown(args[0], args[1]);
    case "throw-value": throw args[0];
    case "spin": for (;;) ;
    case "recurse": return recurse(0);
    case "hoard": for (const all = []; ; ) all.push(new Uint8Array(1 << 20).fill(1));
    case "stall": return new Promise(() => {});
    case "id": return runner.ctx.id;
    default: return reach(runner.env, step);
  }
}

/** The steps that go through `env`. */
async function reach(env: any, [word, binding, name, ...args]: Step): Promise<unknown> {
  switch (word) {
    case "call": return env[binding].idFromName(name)[args[0]](...(args[1] ?? []));
    case "send": void env[binding].idFromName(name)[args[0]](...(args[1] ?? [])).catch(() => {}); return undefined;
    case "call-unsendable": return env[binding].idFromName(name).echo(unsendable(args[0]));
    case "run-fetch": {
      const init = { method: "POST", body: JSON.stringify(args[0]) };
      return (await env[binding].idFromName(name).fetch("http://actor/run", init)).json();
    }
    case "fetch": {
      const [method, path, headers, body] = args;
      const response = await env[binding].idFromName(name).fetch(`http://actor${path}`, { method, headers, body });
      return [response.status, response.headers.get("x-reply"), await response.text()];
    }
    case "stub-id": return env[binding].idFromName(name).id;
    case "unique": {
      const [one, two] = [env[binding].newUniqueId(), env[binding].newUniqueId()];
      await Promise.all([one.run([["put", "k", 1]]), two.run([["put", "k", 2]])]);
      const kept = [await one.run([["get", "k"], ["id"]]), await env[binding].idFromName(two.id).run([["get", "k"]])];
      return [/^[0-9a-f]{32}$/.test(one.id), one.id !== two.id, kept[0][0], kept[0][1] === one.id, kept[1][0]];
    }
    case "var": return env[binding];
    case "secret": return env.SECRETS.get(binding);
    case "same-env": return sdk.env === env && Object.keys(sdk.env).sort();
    default: throw new Error(`no step is called ${word}`);
  }
}
