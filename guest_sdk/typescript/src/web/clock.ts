/** Date on the host's clock. The engine's own clock does not exist in a guest: asking it is a trap.
 *
 *  While the module is being built the time is 0, so that a snapshot never freezes a moment of the build.
 */
import { now } from "tenure:edge/clock@0.1.0";
import { isServing } from "../phase.ts";

const EngineDate = Date;
const { construct } = Reflect;
const { defineProperty, getOwnPropertyNames, getOwnPropertyDescriptor } = Object;

/** Whole milliseconds since 1970. */
export function currentTime(): number {
  return isServing() ? Math.floor(now()) : 0;
}

/** The engine's Date, except that "now" comes from the host. It shares its prototype, so every Date is one. */
export function makeDate(): DateConstructor {
  const made = function Date(this: unknown, ...args: unknown[]): unknown {
    if (new.target === undefined) return new EngineDate(currentTime()).toString();
    return construct(EngineDate, args.length === 0 ? [currentTime()] : args, new.target);
  };
  for (const name of getOwnPropertyNames(EngineDate)) {
    defineProperty(made, name, getOwnPropertyDescriptor(EngineDate, name)!);
  }
  defineProperty(made, "now", { value: currentTime, writable: true, configurable: true });
  defineProperty(EngineDate.prototype, "constructor", { value: made, writable: true, configurable: true });
  return made as unknown as DateConstructor;
}
