/** What is under way on the host: calls to other actors, their fetches, timers.
 *
 *  Starting an operation gives its number at once; the host delivers the outcome later by calling an export. The table
 *  belongs to one call: it is emptied when the next call begins, so that nothing of one call ever reaches another.
 */
import { errorFromHost } from "./errors.ts";
import { Response } from "./web/response.ts";
import { decode } from "./codec.ts";

/** Who waits for an operation. `deliver` gets the wire value, `respond` the response, `fail` the error. */
export interface Waiter {
  deliver(value: string): void;
  respond(status: number, headers: string, body: string, binary: boolean): void;
  fail(error: Error): void;
}

/** The one operation that is under way in nearly every call; more of them are in `others`. */
let only: number | undefined;
let onlyWaiter: Waiter | undefined;
const others = new Map<number, Waiter>();

/** Forgets everything that an earlier call left behind. */
export function clearOperations(): void {
  only = onlyWaiter = undefined;
  if (others.size !== 0) others.clear();
}

export function waitFor(operation: number, waiter: Waiter): void {
  if (only === undefined) {
    only = operation;
    onlyWaiter = waiter;
  } else {
    others.set(operation, waiter);
  }
}

/** Stops waiting; true if the operation was under way. */
export function forget(operation: number): boolean {
  return take(operation) !== undefined;
}

function take(operation: number): Waiter | undefined {
  let waiter: Waiter | undefined;
  if (operation === only) {
    waiter = onlyWaiter;
    only = onlyWaiter = undefined;
  } else {
    waiter = others.get(operation);
    if (waiter !== undefined) others.delete(operation);
  }
  return waiter;
}

export function resolveOperation(operation: number, value: string): void {
  take(operation)?.deliver(value);
}

export function resolveResponse(
  operation: number, status: number, headers: string, body: string, binary: boolean,
): void {
  take(operation)?.respond(status, headers, body, binary);
}

export function rejectOperation(operation: number, name: string, message: string, cause: string): void {
  take(operation)?.fail(errorFromHost(name, message, cause));
}

/** A promise of the outcome of an actor's method, as the wire value says it. */
export function methodResult(operation: number): Promise<unknown> {
  const promise = new EnginePromise(keepSettlers);
  const waiter: MethodWaiter = {
    deliver: deliverValue, respond: refuseResponse, resolve: keptResolve!, fail: keptReject!,
  };
  waitFor(operation, waiter);
  keptResolve = keptReject = undefined;
  return promise;
}

interface MethodWaiter extends Waiter {
  readonly resolve: (value: unknown) => void;
}

const EnginePromise = Promise;
let keptResolve: ((value: unknown) => void) | undefined;
let keptReject: ((error: Error) => void) | undefined;

/** The executor of all these promises: a closure for each would cost more. */
function keepSettlers(resolve: (value: unknown) => void, reject: (error: Error) => void): void {
  keptResolve = resolve;
  keptReject = reject;
}

function deliverValue(this: MethodWaiter, value: string): void {
  let decoded: unknown;
  try {
    decoded = decode(value);
  } catch (error) {
    return this.fail(error as Error);
  }
  this.resolve(decoded);
}

function refuseResponse(this: MethodWaiter): void {
  this.fail(new TypeError("the host answered a method call with a response"));
}

/** Waits for a response. */
export class ResponseWaiter implements Waiter {
  constructor(readonly resolve: (response: Response) => void, readonly fail: (error: Error) => void) {}

  deliver(): void {
    this.fail(new TypeError("the host answered a fetch with a value"));
  }

  respond(status: number, headers: string, body: string, binary: boolean): void {
    this.resolve(Response.fromHost(status, headers, body, binary));
  }
}
