/** console: every line goes to the function's log. */
import { write } from "tenure:edge/log@0.1.0";
import { isServing } from "../phase.ts";
import { format, inspect } from "./inspect.ts";

type Level = "debug" | "info" | "warn" | "error";

/** Writes one entry of the log. While the module is being built there is no log, and the entry is dropped. */
export function logLine(level: Level, message: string): void {
  if (isServing()) write(level, message.toWellFormed());
}

const counts = new Map<string, number>();

export const console = {
  debug: (...values: unknown[]): void => logLine("debug", format(values)),
  log: (...values: unknown[]): void => logLine("info", format(values)),
  info: (...values: unknown[]): void => logLine("info", format(values)),
  warn: (...values: unknown[]): void => logLine("warn", format(values)),
  error: (...values: unknown[]): void => logLine("error", format(values)),
  trace: (...values: unknown[]): void => logLine("debug", `Trace: ${format(values)}\n${new Error().stack ?? ""}`),
  dir: (value: unknown): void => logLine("info", inspect(value)),
  table: (value: unknown): void => logLine("info", inspect(value)),
  assert: (condition: unknown, ...values: unknown[]): void => {
    if (!condition) logLine("error", `Assertion failed${values.length > 0 ? `: ${format(values)}` : ""}`);
  },
  count: (label = "default"): void => {
    const count = (counts.get(label) ?? 0) + 1;
    counts.set(label, count);
    logLine("info", `${label}: ${count}`);
  },
};
