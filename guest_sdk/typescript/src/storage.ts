/** An actor's storage, as its author sees it. The rules are here, the data on the host.
 *
 *  Every operation is an import that answers at once, so the promises are settled when they are returned and the order
 *  of the calls is the order of their effects. What a turn writes is committed by the host when the turn returns.
 */
import * as host from "tenure:edge/storage@0.1.0";
import { decode, encode } from "./codec.ts";
import { rethrowRefusal } from "./errors.ts";
import { checkedText } from "./names.ts";
import { rejected, resolved } from "./promises.ts";

export interface ListOptions {
  prefix?: string;
  start?: string;
  startAfter?: string;
  end?: string;
  reverse?: boolean;
  limit?: number;
}

export type AlarmTime = number | Date;
type Entries = Record<string, unknown>;

const KEY_BYTES_MAX = 2048;
const LIST_LIMIT_DEFAULT = 128;
const LIST_LIMIT_MAX = 1000;
const RESERVED = ["__telnyx_", "__tenure_"];
const DATE_MS_MAX = 8.64e15;
const { keys } = Object;
const isArray = Array.isArray;
const dateTime = Date.prototype.getTime;

// a turn mostly reads and writes one key, so the last good one is nearly always the next one
let lastKey = "key";

function checkKey(key: unknown): string {
  if (key === lastKey) return lastKey;
  const checked = checkedText(key, "a storage key", KEY_BYTES_MAX);
  if (checked.charCodeAt(0) === 95 && RESERVED.some((prefix) => checked.startsWith(prefix))) {
    const names = RESERVED.join(" or ");
    throw new TypeError(`the storage key ${JSON.stringify(checked)} is reserved: keys must not begin with ${names}`);
  }
  return (lastKey = checked);
}

function write(txn: number, key: string, value: string): void {
  try {
    host.put(txn, key, value);
  } catch (error) {
    rethrowRefusal(error);
  }
}

function remove(txn: number, key: string): boolean {
  try {
    return host.delete(txn, key);
  } catch (error) {
    return rethrowRefusal(error);
  }
}

function read(txn: number, key: string): unknown {
  const value = host.get(txn, key);
  return value === null ? undefined : decode(value);
}

function readAll(txn: number, asked: readonly string[]): Map<string, unknown> {
  if (!isArray(asked)) throw new TypeError("get takes a key or an array of keys");
  const found = new Map<string, unknown>();
  for (const one of asked.map(checkKey)) {
    const value = host.get(txn, one);
    if (value !== null) found.set(one, decode(value));
  }
  return found;
}

/** Everything is checked and encoded before the first write, so a refused key or value writes nothing. A Map is no
 *  object of entries: taken for one it would write nothing and say nothing.
 */
function writeAll(txn: number, entries: Entries): void {
  if (typeof entries !== "object" || entries === null || Symbol.iterator in entries) {
    throw new TypeError("put takes a key and a value, or an object of entries");
  }
  const encoded = keys(entries).map((one): [string, string] => [checkKey(one), encode(entries[one])]);
  for (const [one, text] of encoded) write(txn, one, text);
}

function removeAll(txn: number, asked: readonly string[]): number {
  if (!isArray(asked)) throw new TypeError("delete takes a key or an array of keys");
  let count = 0;
  for (const one of asked.map(checkKey)) if (remove(txn, one)) count++;
  return count;
}

/** What a turn and a transaction share. `open` gives the transaction's number, or raises when it is over. */
abstract class Scope {
  protected abstract open(): number;

  /** One value or undefined; for an array of keys a Map of those that exist, in the order asked. */
  get(key: string | readonly string[]): Promise<unknown> {
    try {
      const txn = this.open();
      return resolved(typeof key === "string" ? read(txn, checkKey(key)) : readAll(txn, key));
    } catch (error) {
      return rejected(error);
    }
  }

  put(key: string | Entries, value?: unknown): Promise<void> {
    try {
      const txn = this.open();
      if (typeof key !== "string") {
        writeAll(txn, key);
      } else {
        if (arguments.length < 2) throw new TypeError("put takes a key and a value, or an object of entries");
        write(txn, checkKey(key), encode(value));
      }
      return resolved(undefined);
    } catch (error) {
      return rejected(error);
    }
  }

  /** Whether the key was there; for an array, how many were. */
  delete(key: string | readonly string[]): Promise<boolean | number> {
    try {
      const txn = this.open();
      return resolved(typeof key === "string" ? remove(txn, checkKey(key)) : removeAll(txn, key));
    } catch (error) {
      return rejected(error);
    }
  }

  async list(options: ListOptions = {}): Promise<Map<string, unknown>> {
    const txn = this.open();
    const { prefix, start, end, reverse, limit } = checkListOptions(options);
    const found = new Map<string, unknown>();
    // the host's text is itself a wire value: an array of pairs
    const pairs = decode(host.list(txn, prefix, start, end, reverse, limit)) as [string, unknown][];
    for (const [key, value] of pairs) found.set(key, value);
    return found;
  }
}

function checkListOptions(options: ListOptions) {
  if (typeof options !== "object" || options === null) throw new TypeError("list takes an object of options");
  const { prefix, start, startAfter, end, reverse = false, limit = LIST_LIMIT_DEFAULT } = options;
  if (start !== undefined && startAfter !== undefined) {
    throw new TypeError("list takes start or startAfter, not both");
  }
  if (typeof reverse !== "boolean") throw new TypeError("list: reverse must be a boolean");
  if (typeof limit !== "number" || !Number.isInteger(limit)) throw new TypeError("list: limit must be a whole number");
  if (limit < 1 || limit > LIST_LIMIT_MAX) {
    throw new RangeError(`list: limit must be from 1 to ${LIST_LIMIT_MAX}, not ${limit}`);
  }
  return {
    prefix: bound("prefix", prefix) ?? "",
    // the smallest key after `k` is `k` and a zero byte
    start: startAfter !== undefined ? bound("startAfter", startAfter) + "\0" : bound("start", start) ?? "",
    end: bound("end", end) ?? null,
    reverse,
    limit,
  };
}

function bound(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new TypeError(`list: ${name} must be a string`);
  if (!value.isWellFormed()) throw new TypeError(`list: ${name} has half of a surrogate pair, which is not UTF-8`);
  return value;
}

let finish: (txn: StorageTransaction) => number | undefined;

/** What `transaction` gives to its callback. Using it after the callback is over, or after `rollback`, raises. */
export class StorageTransaction extends Scope {
  #number: number | undefined;

  static {
    finish = (txn) => {
      const number = txn.#number;
      txn.#number = undefined;
      return number;
    };
  }

  constructor(number: number) {
    super();
    this.#number = number;
  }

  protected override open(): number {
    if (this.#number === undefined) throw new Error("this transaction is over");
    return this.#number;
  }

  /** Drops what the transaction wrote. */
  rollback(): void {
    host.rollback(this.open());
    finish(this);
  }
}

export class ActorStorage extends Scope {
  protected override open(): number {
    return 0;
  }

  /** Removes every key; the alarm stays. */
  async deleteAll(): Promise<void> {
    host.deleteAll(0);
  }

  /** Runs `callback`; a throw drops the transaction's own writes and rejects, and the turn can go on. */
  async transaction<T>(callback: (txn: StorageTransaction) => Promise<T> | T): Promise<T> {
    if (typeof callback !== "function") throw new TypeError("transaction takes a function");
    const txn = new StorageTransaction(host.begin(0));
    let result: T;
    try {
      result = await callback(txn);
    } catch (error) {
      const number = finish(txn);
      if (number !== undefined) host.rollback(number);
      throw error;
    }
    const number = finish(txn);
    if (number !== undefined) host.commit(number);
    return result;
  }

  async setAlarm(time: AlarmTime): Promise<void> {
    const at = typeof time === "number" ? time : time instanceof Date ? dateTime.call(time) : NaN;
    if (!Number.isFinite(at)) throw new TypeError("setAlarm takes milliseconds since 1970 or a valid Date");
    if (Math.abs(at) > DATE_MS_MAX) throw new RangeError("setAlarm takes a time that a Date can hold");
    host.setAlarm(at);
  }

  /** Milliseconds since 1970, or null when none is set. */
  async getAlarm(): Promise<number | null> {
    return host.getAlarm();
  }

  async deleteAlarm(): Promise<void> {
    host.setAlarm(null);
  }
}
