/** performance: a clock that never goes back, and marks and measures on it.
 *
 *  The host's clock stands still for nobody, but it may be asked only while serving; while the module is being built the
 *  time is 0. Entries are kept for the instance's life, the newest `ENTRIES_MAX` of them.
 */
import { monotonic, now } from "tenure:edge/clock@0.1.0";
import { isServing } from "../phase.ts";

const ENTRIES_MAX = 1000;

let start: number | undefined;
let origin: number | undefined;
let entries: PerformanceEntry[] | undefined;

/** Milliseconds since the instance first asked. */
function elapsed(): number {
  if (!isServing()) return 0;
  if (start === undefined) {
    start = monotonic();
    origin = now();
  }
  return monotonic() - start;
}

export class PerformanceEntry {
  constructor(
    readonly name: string, readonly entryType: "mark" | "measure", readonly startTime: number,
    readonly duration: number, readonly detail: unknown,
  ) {}

  toJSON(): object {
    const { name, entryType, startTime, duration, detail } = this;
    return { name, entryType, startTime, duration, detail };
  }
}

type MarkOptions = { startTime?: number; detail?: unknown };
type MeasureOptions = { start?: string | number; end?: string | number; duration?: number; detail?: unknown };

function keep(entry: PerformanceEntry): PerformanceEntry {
  entries ??= [];
  if (entries.length >= ENTRIES_MAX) entries.shift();
  entries.push(entry);
  return entry;
}

function timeOf(mark: string | number): number {
  if (typeof mark === "number") return mark;
  const found = entries?.findLast((one) => one.entryType === "mark" && one.name === mark);
  if (found === undefined) throw new DOMException(`there is no mark ${JSON.stringify(mark)}`, "SyntaxError");
  return found.startTime;
}

function spanOf(start: string | undefined, end: string | undefined): MeasureOptions {
  return { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
}

function clear(type: PerformanceEntry["entryType"], name: string | undefined): void {
  entries = entries?.filter((one) => one.entryType !== type || (name !== undefined && one.name !== String(name)));
}

export class Performance {
  now(): number {
    return elapsed();
  }

  get timeOrigin(): number {
    elapsed();
    return origin ?? 0;
  }

  mark(name: string, { startTime, detail = null }: MarkOptions = {}): PerformanceEntry {
    const at = startTime === undefined ? elapsed() : Number(startTime);
    if (!(at >= 0)) throw new TypeError("a mark's startTime must be a number from 0");
    return keep(new PerformanceEntry(String(name), "mark", at, 0, detail));
  }

  measure(name: string, from?: string | MeasureOptions, to?: string): PerformanceEntry {
    const options: MeasureOptions = typeof from === "object" && from !== null ? from : spanOf(from, to);
    const { duration } = options;
    const end =
      options.end !== undefined ? timeOf(options.end)
      : duration !== undefined && options.start !== undefined ? timeOf(options.start) + duration
      : elapsed();
    const begin =
      options.start !== undefined ? timeOf(options.start)
      : duration !== undefined ? end - duration
      : 0;
    const detail = options.detail ?? null;
    return keep(new PerformanceEntry(String(name), "measure", begin, end - begin, detail));
  }

  getEntries(): PerformanceEntry[] {
    return [...(entries ?? [])].sort((a, b) => a.startTime - b.startTime);
  }

  getEntriesByType(type: string): PerformanceEntry[] {
    return this.getEntries().filter((one) => one.entryType === type);
  }

  getEntriesByName(name: string, type?: string): PerformanceEntry[] {
    return this.getEntries().filter((one) => one.name === name && (type === undefined || one.entryType === type));
  }

  clearMarks(name?: string): void {
    clear("mark", name);
  }

  clearMeasures(name?: string): void {
    clear("measure", name);
  }

  toJSON(): object {
    return { timeOrigin: this.timeOrigin };
  }
}
