/** Promises on the hot path, without async functions.
 *
 *  An async function costs its caller a frame, a promise and two closures, each time, even when it never waits. Where
 *  the outcome is known when a function returns, `resolved` and `rejected` say it; where the SDK waits for an author's
 *  promise, `whenSettled` takes it up exactly as `await` would: in the same turn of the microtask queue, and without a
 *  look at any method that the author's code could have put on Promise.prototype.
 */
const EnginePromise = Promise;
const { then } = Promise.prototype;
const { resolve, reject } = Promise;
const engineQueueMicrotask = queueMicrotask;

/** The promise of all operations that give nothing: one for all, because making one is most of what they cost. */
const DONE = EnginePromise.resolve(undefined);

/** A promise that has `value`. */
export function resolved<T>(value: T): Promise<T> {
  return value === undefined ? (DONE as Promise<T>) : (resolve.call(EnginePromise, value) as Promise<T>);
}

/** A promise that has failed with `error`. */
export function rejected(error: unknown): Promise<never> {
  return reject.call(EnginePromise, error) as Promise<never>;
}

/** Runs `next` when the microtasks that are queued now have run. It must not throw. */
export function soon(next: () => void): void {
  engineQueueMicrotask(next);
}

/** Calls `done` or `failed` where `await value` would go on. Raises what a `then` that is a getter throws. */
export function whenSettled<T>(value: T, done: (value: Awaited<T>) => void, failed: (error: unknown) => void): void {
  if (isThenable(value)) then.call(resolve.call(EnginePromise, value), done as (value: unknown) => void, failed);
  else engineQueueMicrotask(() => done(value as Awaited<T>));
}

function isThenable(value: unknown): boolean {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return false;
  return typeof (value as { then?: unknown }).then === "function";
}
