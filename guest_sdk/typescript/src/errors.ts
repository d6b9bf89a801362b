/** The errors a caller sees, by class and by `name`, and how an error crosses the boundary in both directions.
 *
 *  An error crosses by name, message and its cause's name only. Coming in, the name picks the class, so that `instanceof`
 *  and `err.name` both work; a name nobody knows becomes an `Error` that carries it. `err.cause` of an `ActorMethodError`
 *  is an Error whose name is the name of what the method threw; whoever lets the error pass passes that on.
 */

/** Base of every error that an actor call can end with. */
export class ActorError extends Error {}

/** The method threw: `message` is what it said, `cause.name` the name of what it threw. */
export class ActorMethodError extends ActorError {}
/** The method's name begins with `_`, which hides it from callers. */
export class ActorPrivateMethodError extends ActorError {}
/** The actor has no such method. */
export class ActorUnknownMethodError extends ActorError {}
/** No function of the tenant ships the actor's class. */
export class ActorTypeNotFoundError extends ActorError {}
/** The method ran over its time and was stopped. */
export class ActorMethodTimeoutError extends ActorError {}
/** The actor's `fetch` ran over its time and was stopped. */
export class ActorFetchTimeoutError extends ActorError {}
/** `blockConcurrencyWhile` ran over its time; the next call makes a fresh activation. */
export class BlockConcurrencyTimeoutError extends ActorError {}
/** The commit before this reply failed, so what the reply says may not be durable. */
export class ActorOutputGateError extends ActorError {}
/** The actor's queue is full. */
export class ActorOverloadedError extends ActorError {}
/** The call chain comes back to an actor that is in it, or is too deep. */
export class ActorDeadlockError extends ActorError {}
/** The actor trapped, ran out of memory, stack or CPU time. */
export class ActorCrashedError extends ActorError {}
/** A value cannot cross; the message names where in it, such as `$.items[3]`. */
export class CodecError extends ActorError {}
/** A limit on stored or sent data is reached. */
export class QuotaExceededError extends ActorError {}

const CLASSES = {
  ActorError, ActorMethodError, ActorPrivateMethodError, ActorUnknownMethodError, ActorTypeNotFoundError,
  ActorMethodTimeoutError,
  ActorFetchTimeoutError, BlockConcurrencyTimeoutError, ActorOutputGateError, ActorOverloadedError,
  ActorDeadlockError, ActorCrashedError, CodecError, QuotaExceededError,
};
const BUILT_IN = { Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError };

const classes = new Map<string, new (message: string) => Error>();
for (const [name, constructor] of Object.entries(CLASSES)) {
  // on the prototype, not enumerable: what a class of the language does, and free for each instance
  Object.defineProperty(constructor.prototype, "name", { value: name, writable: true, configurable: true });
  classes.set(name, constructor);
}
for (const [name, constructor] of Object.entries(BUILT_IN)) classes.set(name, constructor);

/** An error as it arrived: of the class its name says, with `err.name === name`. */
export function errorFromHost(name: string, message: string, cause = ""): Error {
  const constructor = classes.get(name) ?? Error;
  const error = new constructor(message);
  if (error.name !== name) define(error, "name", name);
  if (cause !== "") {
    const thrown = new Error(message);
    define(thrown, "name", cause);
    define(error, "cause", thrown);
  }
  return error;
}

function define(target: Error, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, configurable: true });
}

/** Runs a host import whose WIT result can be a `refusal`, and rethrows that as the error it names. */
export function rethrowRefusal(error: unknown): never {
  const payload = (error as { payload?: { name: string; message: string } } | null)?.payload;
  if (payload !== undefined && payload !== null) throw errorFromHost(payload.name, payload.message);
  throw error;
}

const EngineError = (globalThis as { InternalError?: typeof InternalError }).InternalError;

/** What was thrown, as three texts that may cross: reading it never throws, whatever it is. */
export function describeThrown(thrown: unknown): [name: string, message: string, stack: string] {
  try {
    if (thrown instanceof Error) return [text(thrown.name) || "Error", text(thrown.message), text(thrown.stack)];
    if (typeof thrown === "object" && thrown !== null && "message" in thrown) {
      const like = thrown as { name?: unknown; message: unknown; stack?: unknown };
      return [typeof like.name === "string" ? text(like.name) : "Error", text(like.message), text(like.stack)];
    }
    return ["Error", `a value that is no Error was thrown: ${text(thrown)}`, ""];
  } catch {
    return ["Error", "a value that cannot be read was thrown", ""];
  }
}

/** The name of the cause of an actor's error that is passed on, or "": what the method threw that failed first. */
export function causeName(thrown: unknown): string {
  if (!(thrown instanceof ActorError)) return "";
  try {
    const name = (thrown.cause as { name?: unknown } | null | undefined)?.name;
    return typeof name === "string" ? text(name) : "";
  } catch {
    return "";
  }
}

const OUT_OF_MEMORY = "out of memory";
const CODE_OUT_OF_MEMORY = "the code ran out of memory";

/** Why the instance cannot go on, when the engine itself threw (out of memory or stack); else undefined. */
export function crashMessage(error: unknown): string | undefined {
  if (EngineError === undefined || !(error instanceof EngineError)) return undefined;
  try {
    if (error.message.includes("stack")) return "the code ran out of stack: it recurses too deeply";
    return error.message === OUT_OF_MEMORY ? CODE_OUT_OF_MEMORY : text(error.message);
  } catch {
    return CODE_OUT_OF_MEMORY; // not even a text can be made
  }
}

function text(value: unknown): string {
  return value === undefined ? "" : String(value).toWellFormed();
}
