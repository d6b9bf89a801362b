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

const pending = new Map<number, Waiter>();

/** Forgets everything that an earlier call left behind. */
export function clearOperations(): void {
  if (pending.size !== 0) pending.clear();
}

export function waitFor(operation: number, waiter: Waiter): void {
  pending.set(operation, waiter);
}

/** Stops waiting; true if the operation was under way. */
export function forget(operation: number): boolean {
  return pending.delete(operation);
}

function take(operation: number): Waiter | undefined {
  const waiter = pending.get(operation);
  if (waiter !== undefined) pending.delete(operation);
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

/** Waits for the outcome of an actor's method: a wire value. */
export class MethodWaiter implements Waiter {
  constructor(readonly resolve: (value: unknown) => void, readonly fail: (error: Error) => void) {}

  deliver(value: string): void {
    try {
      this.resolve(decode(value));
    } catch (error) {
      this.fail(error as Error);
    }
  }

  respond(): void {
    this.fail(new TypeError("the host answered a method call with a response"));
  }
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
