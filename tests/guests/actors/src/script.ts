/** A guest that does what a test says: a script is a list of steps, `[word, ...arguments]`, and gives a list of results. */

export type Step = [string, ...any[]];
type Scope = any; // storage or a transaction, whose types refuse the odd calls that tests make on purpose

export interface Runner {
  readonly env: any;
  readonly storage?: Scope;
  /** What this activation keeps in memory. */
  readonly memory: string[];
}

export async function run(runner: Runner, steps: Step[], scope: Scope = runner.storage): Promise<unknown[]> {
  const results = [];
  for (const step of steps) results.push((await take(runner, step, scope)) ?? null);
  return results;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function recurse(depth: number): number {
  return 1 + recurse(depth + 1);
}

function thrown(name: string, message: string): Error {
  const error = new Error(message);
  error.name = name;
  return error;
}

async function attempt(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return { ok: (await work()) ?? null };
  } catch (error: any) {
    const { name, message, cause, constructor } = error;
    return { name, message, cause: cause?.name ?? null, kind: constructor.name, error: error instanceof Error };
  }
}

async function take(runner: Runner, [word, ...args]: Step, scope: Scope): Promise<unknown> {
  const { env, memory } = runner;
  const [first, second] = args;
  switch (word) {
    case "get": return scope.get(first);
    case "put": return scope.put(...args);
    case "fill": return scope.put(first, "x".repeat(second));
    case "delete": return scope.delete(first);
    case "list": return [...(await scope.list(first))];
    case "deleteAll": return scope.deleteAll();
    case "transaction": return scope.transaction((txn: Scope) => run(runner, first, txn));
    case "rollback": return scope.rollback();
    case "setAlarm": return scope.setAlarm(first);
    case "setAlarmIn": return scope.setAlarm(Date.now() + first);
    case "getAlarm": return scope.getAlarm();
    case "deleteAlarm": return scope.deleteAlarm();
    case "call": return env[first].idFromName(second)[args[2]](...(args[3] ?? []));
    case "send": void env[first].idFromName(second)[args[2]](...(args[3] ?? [])); return;
    case "fetch": return (await env[first].idFromName(second).fetch("http://actor/", args[2])).text();
    case "name": return env[first].idFromName("\u{1f980}".repeat(second) + "x".repeat(args[2])).id.length;
    case "try": return attempt(() => take(runner, first, scope));
    case "all": return Promise.all(first.map((step: Step) => take(runner, step, scope)));
    case "remember": memory.push(first); return memory.slice();
    case "pause": return pause(first);
    case "throw": throw thrown(first, second);
    case "throw-value": throw first;
    case "unsendable": return new Map([["here", () => 1]]);
    case "var": return env[first];
    case "spin": for (;;) ;
    case "burn": for (const end = Date.now() + first; Date.now() < end; ) ; return;
    case "recurse": return recurse(0);
    case "hoard": for (const all = []; ; ) all.push(new Uint8Array(1 << 20).fill(1));
    case "stall": return new Promise(() => {});
    default: throw new Error(`no step is called ${word}`);
  }
}
