/** structuredClone: a deep copy that keeps cycles and shared parts, of everything the web platform lets one copy. */
import { Blob } from "./blob.ts";
import { CryptoKey } from "./crypto_key.ts";

const { keys, defineProperty, getPrototypeOf } = Object;

const ERRORS: Record<string, ErrorConstructor> = {
  EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError,
};

/** Raises a DOMException named DataCloneError for functions, symbols, promises and the like. */
export function structuredClone<T>(value: T, options?: { transfer?: readonly unknown[] }): T {
  if (options?.transfer !== undefined && options.transfer.length > 0) {
    throw new DOMException("structuredClone cannot transfer; leave `transfer` out to copy", "DataCloneError");
  }
  return copy(value, new Map()) as T;
}

function copy(value: unknown, seen: Map<object, unknown>): unknown {
  if (typeof value === "function" || typeof value === "symbol") return refuse(`a ${typeof value}`);
  if (typeof value !== "object" || value === null) return value;
  return seen.has(value) ? seen.get(value) : copyObject(value, seen);
}

function copyObject(value: object, seen: Map<object, unknown>): unknown {
  const keep = <T>(made: T): T => {
    seen.set(value, made);
    return made;
  };
  if (Array.isArray(value)) return copyItems(value, keep(new Array(value.length)), seen);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof Map) {
    const map = keep(new Map());
    for (const [key, item] of [...value]) map.set(copy(key, seen), copy(item, seen));
    return map;
  }
  if (value instanceof Set) {
    const set = keep(new Set());
    for (const item of [...value]) set.add(copy(item, seen));
    return set;
  }
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) return keep(copyView(value as DataView | Uint8Array, seen));
  if (value instanceof Error) return keep(copyError(value, seen));
  if (value instanceof Boolean || value instanceof Number || value instanceof String) {
    return keep(Object(value.valueOf()));
  }
  if (value instanceof Blob || value instanceof CryptoKey) return keep(value); // nobody can change them
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    return refuse(`a ${getPrototypeOf(value).constructor.name}`);
  }
  return copyItems(value, keep({}), seen);
}

function copyItems(from: object, to: object, seen: Map<object, unknown>): object {
  for (const key of keys(from)) {
    const value = copy((from as Record<string, unknown>)[key], seen);
    defineProperty(to, key, { value, writable: true, enumerable: true, configurable: true });
  }
  return to;
}

/** Views of one buffer stay views of one buffer. */
function copyView(view: DataView | Uint8Array, seen: Map<object, unknown>): unknown {
  type Views = new (buffer: ArrayBuffer, offset: number, length: number) => unknown;
  const constructor = getPrototypeOf(view).constructor as Views;
  const buffer = copy(view.buffer, seen) as ArrayBuffer;
  return new constructor(buffer, view.byteOffset, view instanceof DataView ? view.byteLength : view.length);
}

function copyError(error: Error, seen: Map<object, unknown>): Error {
  const constructor = ERRORS[error.name] ?? Error;
  const made = new constructor(error.message);
  if (error.stack !== undefined) {
    defineProperty(made, "stack", { value: error.stack, writable: true, configurable: true });
  }
  if ("cause" in error) {
    defineProperty(made, "cause", { value: copy(error.cause, seen), writable: true, configurable: true });
  }
  return made;
}

function refuse(what: string): never {
  throw new DOMException(`${what} could not be cloned`, "DataCloneError");
}
