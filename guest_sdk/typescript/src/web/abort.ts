/** AbortController and AbortSignal, and how a signal ends an operation. */
import { cancel } from "tenure:edge/timers@0.1.0";
import { forget } from "../operations.ts";
import { Event, EventTarget, reportUncaught } from "./events.ts";
import { setTimeout } from "./timers.ts";

/** Aborts `signal` with `reason`, once. */
let abort: (signal: AbortSignal, reason: unknown) => void;
const INTERNAL = Symbol("internal");

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason: unknown = undefined;
  onabort: ((event: Event) => unknown) | null = null;

  static {
    abort = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      const event = new Event("abort");
      try {
        signal.onabort?.call(signal, event);
      } catch (error) {
        reportUncaught("onabort", error);
      }
      signal.dispatchEvent(event);
    };
  }

  constructor(key?: symbol) {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor: use an AbortController");
    super();
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  static abort(reason?: unknown): AbortSignal {
    const signal = neverAborted();
    abort(signal, reason);
    return signal;
  }

  static timeout(milliseconds: number): AbortSignal {
    const signal = neverAborted();
    setTimeout(() => abort(signal, new DOMException("The operation timed out", "TimeoutError")), milliseconds);
    return signal;
  }

  static any(signals: Iterable<AbortSignal>): AbortSignal {
    const sources = [...signals];
    const combined = neverAborted();
    const aborted = sources.find((one) => one.aborted);
    if (aborted !== undefined) abort(combined, aborted.reason);
    else for (const one of sources) one.addEventListener("abort", () => abort(combined, one.reason), { once: true });
    return combined;
  }

  override get [Symbol.toStringTag](): string {
    return "AbortSignal";
  }
}

/** A signal that nothing aborts. */
export function neverAborted(): AbortSignal {
  return new AbortSignal(INTERNAL);
}

export class AbortController {
  readonly signal = neverAborted();

  abort(reason?: unknown): void {
    abort(this.signal, reason);
  }

  get [Symbol.toStringTag](): string {
    return "AbortController";
  }
}

/** `result`, unless `signal` aborts first: then the operation is cancelled and the promise rejects with the reason. */
export function rejectOnAbort<T>(result: Promise<T>, signal: AbortSignal, operation: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      if (forget(operation)) cancel(operation);
      reject(signal.reason);
    };
    const settled = (): void => signal.removeEventListener("abort", aborted);
    signal.addEventListener("abort", aborted, { once: true });
    result.then(resolve, reject);
    result.then(settled, settled);
  });
}
