/** setTimeout and setInterval. A timer is an operation of the call that made it: it ends with that call. */
import * as host from "tenure:edge/timers@0.1.0";
import { describeThrown } from "../errors.ts";
import { forget, waitFor, type Waiter } from "../operations.ts";
import { requireServing } from "../phase.ts";
import { logLine } from "./console.ts";

type Callback = (...args: unknown[]) => unknown;

const running = new Map<number, Timer>();
let nextId = 1;

class Timer implements Waiter {
  #operation = 0;

  constructor(
    readonly id: number, readonly milliseconds: number, readonly repeats: boolean,
    readonly callback: Callback, readonly args: unknown[],
  ) {}

  start(): void {
    this.#operation = host.start(this.milliseconds);
    waitFor(this.#operation, this);
  }

  cancel(): void {
    if (forget(this.#operation)) host.cancel(this.#operation);
  }

  deliver(): void {
    if (this.repeats) this.start();
    else running.delete(this.id);
    try {
      this.callback.apply(undefined, this.args);
    } catch (error) {
      const [name, message, stack] = describeThrown(error);
      logLine("error", `Uncaught in a timer: ${name}: ${message}\n${stack}`);
    }
  }

  respond(): void {}

  fail(error: Error): void {
    running.delete(this.id);
    logLine("error", `a timer could not run: ${error.message}`);
  }
}

function start(what: string, repeats: boolean, callback: Callback, delay: unknown, args: unknown[]): number {
  requireServing(what);
  if (typeof callback !== "function") throw new TypeError(`${what} takes a function`);
  const milliseconds = Math.max(Number(delay) || 0, repeats ? 1 : 0);
  const timer = new Timer(nextId++, Math.min(milliseconds, 0x7fffffff), repeats, callback, args);
  running.set(timer.id, timer);
  timer.start();
  return timer.id;
}

export function setTimeout(callback: Callback, delay?: number, ...args: unknown[]): number {
  return start("setTimeout", false, callback, delay, args);
}

export function setInterval(callback: Callback, delay?: number, ...args: unknown[]): number {
  return start("setInterval", true, callback, delay, args);
}

export function clearTimeout(id?: number): void {
  const timer = running.get(id as number);
  if (timer === undefined) return;
  running.delete(timer.id);
  timer.cancel();
}

/** Forgets the timers of an earlier call. */
export function clearTimers(): void {
  if (running.size !== 0) running.clear();
}
