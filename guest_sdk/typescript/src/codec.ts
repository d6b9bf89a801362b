/** The wire form of values: JSON text that a person can read, the same for every language (guest_sdk/conformance/codec.md).
 *
 *  Almost every value is plain JSON, so encoding is one walk that looks for anything that is not, then the engine's own
 *  JSON.stringify on the very same value. Only when the walk finds something special is a tagged copy built. Decoding is
 *  JSON.parse, and a second walk only when the text has a key that begins with `$`.
 *
 *  What cannot cross raises CodecError at once and names the place, such as `$.items[3].when`.
 */
import { CodecError } from "./errors.ts";
import { decodeTagged } from "./codec_decode.ts";

/** How deep a value may be nested. The engine's own JSON code recurses, and the guest's stack is finite. */
export const DEPTH_MAX = 256;

const { stringify, parse } = JSON;
const { keys, getPrototypeOf, defineProperty } = Object;
const isArray = Array.isArray;
const ObjectPrototype = Object.prototype;
const ArrayPrototype = Array.prototype;

/** The wire text of `value`. Raises CodecError. */
export function encode(value: unknown): string {
  switch (typeof value) {
    case "undefined":
      return '{"$undefined":0}';
    case "string":
    case "boolean":
      return stringify(value);
    default:
      return stringify(isPlain(value, 0) ? value : new Encoder().encode(value));
  }
}

/** The value of a wire text. Raises CodecError when the text is no wire value. */
export function decode(text: string): unknown {
  let value: unknown;
  try {
    value = parse(text);
  } catch {
    throw new CodecError("a wire value is not JSON");
  }
  return text.includes('"$') ? decodeTagged(value) : value;
}

/** True when JSON.stringify writes exactly the wire form of `value`. Never raises: what is odd is left to the Encoder. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return value === 0 ? 1 / value > 0 : value - value === 0;
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth > DEPTH_MAX) return false;
  const prototype = getPrototypeOf(value);
  if (prototype === ObjectPrototype || prototype === null) {
    const names = keys(value);
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      if (name.charCodeAt(0) === 36 || name === "toJSON") return false;
      if (!isPlain((value as Record<string, unknown>)[name], depth + 1)) return false;
    }
    return true;
  }
  if (prototype === ArrayPrototype && isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth + 1)) return false;
    return true;
  }
  return false;
}

const dateTime = Date.prototype.getTime;
const mapEntries = Map.prototype.entries;
const setValues = Set.prototype.values;
const TYPED_ARRAYS = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float16Array,
  Float32Array, Float64Array, BigInt64Array, BigUint64Array,
];
const typedArrayNames = new Map<object | null, string>(TYPED_ARRAYS.map((one) => [one.prototype, one.name]));

/** Builds the tagged copy. `ancestors` are the containers being walked: meeting one again is a cycle. */
class Encoder {
  readonly #ancestors: object[] = [];
  readonly #path: (string | number)[] = [];

  encode(value: unknown): unknown {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "undefined":
        return { $undefined: 0 };
      case "number":
        return encodeNumber(value);
      case "bigint":
        return { $bigint: value.toString() };
      case "function":
        return this.#refuse("a function");
      case "symbol":
        return this.#refuse("a symbol");
      default:
        return value === null ? null : this.#object(value as object);
    }
  }

  #object(value: object): unknown {
    if (this.#ancestors.includes(value)) this.#refuse("a cycle: the value contains itself");
    if (this.#ancestors.length >= DEPTH_MAX) this.#refuse(`nested more than ${DEPTH_MAX} levels deep`);
    this.#ancestors.push(value);
    try {
      return this.#tagged(value, getPrototypeOf(value));
    } catch (error) {
      if (error instanceof CodecError || !(error instanceof TypeError)) throw error;
      return this.#refuse(error.message); // an object that only pretends, such as Object.create(Date.prototype)
    } finally {
      this.#ancestors.pop();
    }
  }

  #tagged(value: object, prototype: object | null): unknown {
    if (prototype === ObjectPrototype || prototype === null) return this.#plainObject(value as Record<string, unknown>);
    if (prototype === ArrayPrototype && isArray(value)) return Array.from(value, (item, i) => this.#at(i, item));
    if (prototype === Date.prototype) {
      const time = dateTime.call(value as Date);
      return { $date: time === time ? time : null };
    }
    if (prototype === Map.prototype) {
      const entries = Array.from(mapEntries.call(value as Map<unknown, unknown>));
      return { $map: entries.map(([key, item], i) => [this.#at(`<key ${i}>`, key), this.#at(i, item)]) };
    }
    if (prototype === Set.prototype) {
      return { $set: Array.from(setValues.call(value as Set<unknown>), (item, i) => this.#at(i, item)) };
    }
    if (prototype === RegExp.prototype) return { $regexp: [(value as RegExp).source, (value as RegExp).flags] };
    const name = bytesName(prototype);
    if (name !== undefined) return { $bytes: [name, base64Of(value as ArrayBuffer | ArrayBufferView)] };
    return this.#refuse(instanceDescription(value));
  }

  #plainObject(value: Record<string, unknown>): unknown {
    const copy: Record<string, unknown> = {};
    let wrap = false;
    for (const name of keys(value)) {
      const item = this.#at(name, value[name]);
      if (name.charCodeAt(0) === 36) wrap = true;
      if (name === "__proto__") defineProperty(copy, name, { value: item, enumerable: true });
      else copy[name] = item;
    }
    return wrap ? { $object: copy } : copy;
  }

  #at(step: string | number, value: unknown): unknown {
    this.#path.push(step);
    const encoded = this.encode(value);
    this.#path.pop();
    return encoded;
  }

  #refuse(what: string): never {
    throw new CodecError(`${pathText(this.#path)} cannot be sent or stored: ${what}`);
  }
}

function encodeNumber(value: number): unknown {
  if (value - value !== 0) return { $number: String(value) };
  return value === 0 && 1 / value < 0 ? { $number: "-0" } : value;
}

function bytesName(prototype: object | null): string | undefined {
  if (prototype === ArrayBuffer.prototype) return "ArrayBuffer";
  return prototype === DataView.prototype ? "DataView" : typedArrayNames.get(prototype);
}

/** Base64 of the bytes that a buffer or a view shows. */
function base64Of(value: ArrayBuffer | ArrayBufferView): string {
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
  return bytes.toBase64();
}

function instanceDescription(value: object): string {
  if (value instanceof Promise) return "a promise; await it first";
  const name = (value.constructor as { name?: unknown } | undefined)?.name;
  const named = typeof name === "string" && name !== "" ? `an instance of ${name}` : "an instance of a class";
  return value instanceof Error ? `${named}; throw it, or send its message` : `${named}; only plain objects cross`;
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

function pathText(path: readonly (string | number)[]): string {
  let text = "$";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += IDENTIFIER.test(step) ? `.${step}` : `[${step.startsWith("<key ") ? step : stringify(step)}]`;
  }
  return text;
}
