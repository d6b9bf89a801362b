/** The wire form of values: JSON text that a person can read, the same for every language (conformance/codec.md).
 *
 *  Almost every value is plain JSON, so encoding is one walk that looks for anything that is not, then the engine's
 *  own JSON.stringify on the very same value. Only when the walk finds something special is a tagged copy built.
 *  Decoding is JSON.parse, and a second walk only when the text has a key that begins with `$`.
 *
 *  What cannot cross raises CodecError at once and names the place, such as `$.items[3].when`.
 */
import { CodecError } from "./errors.ts";
import { decodeTagged } from "./codec_decode.ts";

/** How deep a value may be nested. The engine's own JSON code recurses, and the guest's stack is finite. */
export const DEPTH_MAX = 256;

const FLAT_KEYS_MAX = 4;
const KEYS_KEPT_MAX = 256;
const KEY_LENGTH_KEPT_MAX = 64;
const quotedKeys = new Map<string, string>();

const { stringify, parse } = JSON;
const { keys, getPrototypeOf, defineProperty } = Object;
const isArray = Array.isArray;
const ObjectPrototype = Object.prototype;
const ArrayPrototype = Array.prototype;

/** The wire text of `value`. Raises CodecError. */
export function encode(value: unknown): string {
  switch (typeof value) {
    case "number":
      if (isPlainNumber(value)) return "" + value;
      break;
    case "string":
      return stringify(value);
    case "boolean":
      return value ? "true" : "false";
    case "undefined":
      return '{"$undefined":0}';
    case "object":
      if (value === null) return "null";
      return flatText(value) ?? stringify(isPlain(value, 0) ? value : new Encoder().encode(value));
  }
  return stringify(new Encoder().encode(value));
}

/** The text of an object with a few scalars, for which the engine's stringify costs more; undefined for any other. */
function flatText(value: object): string | undefined {
  if (getPrototypeOf(value) !== ObjectPrototype) return undefined;
  const names = keys(value);
  if (names.length > FLAT_KEYS_MAX) return undefined;
  let text = "{";
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    const key = quotedKeys.get(name) ?? quoteKey(name);
    const item = (value as Record<string, unknown>)[name];
    const type = typeof item;
    if (key === "") return undefined;
    if (i !== 0) text += ",";
    if (type === "string") text += key + stringify(item);
    else if (type === "boolean" || (type === "number" && isPlainNumber(item as number))) text += key + (item as number);
    else return undefined;
  }
  return text + "}";
}

/** The key as it stands in an object, with its colon; "" for one that means something: a tag, or stringify's method. */
function quoteKey(name: string): string {
  const quoted = name < "%" || name === "toJSON" ? "" : stringify(name) + ":";
  if (quotedKeys.size === KEYS_KEPT_MAX) quotedKeys.clear();
  if (name.length <= KEY_LENGTH_KEPT_MAX) quotedKeys.set(name, quoted);
  return quoted;
}

/** The wire text of arguments. The engine's stringify costs more than the few scalars that most calls have. */
export function encodeArguments(args: readonly unknown[]): string {
  let text = "";
  for (let i = 0; i < args.length; i++) {
    const argument = args[i];
    if (typeof argument !== "string" && typeof argument !== "number") return encode(args);
    text += i === 0 ? encode(argument) : "," + encode(argument);
  }
  return "[" + text + "]";
}

/** The value of a wire text. Raises CodecError when the text is no wire value. */
export function decode(text: string): unknown {
  let value: unknown;
  try {
    value = parse(text);
  } catch {
    throw new CodecError("a wire value is not JSON");
  }
  return typeof value === "object" && text.includes('"$') ? decodeTagged(value) : value;
}

/** True when JSON.stringify writes exactly the wire form of `value`. What is odd is left to the Encoder. */
function isPlain(value: object, depth: number): boolean {
  if (depth === DEPTH_MAX) return false;
  const prototype = getPrototypeOf(value);
  if (prototype === ObjectPrototype || prototype === null) {
    const names = keys(value);
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      // "%" comes after "$", with which tags begin, and before all that names usually begin with
      if (name < "%" || name === "toJSON") return false;
      if (!isPlainItem((value as Record<string, unknown>)[name], depth)) return false;
    }
    return true;
  }
  if (prototype !== ArrayPrototype || !isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!isPlainItem(value[i], depth)) return false;
  return true;
}

function isPlainItem(value: unknown, depth: number): boolean {
  const type = typeof value;
  if (type === "number") return isPlainNumber(value as number);
  if (type === "object") return value === null || isPlain(value as object, depth + 1);
  return type === "string" || type === "boolean";
}

function isPlainNumber(value: number): boolean {
  return value === 0 ? 1 / value > 0 : value - value === 0;
}

const dateTime = Date.prototype.getTime;
const mapEntries = Map.prototype.entries;
const setValues = Set.prototype.values;
const TYPED_ARRAYS = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float16Array,
  Float32Array, Float64Array, BigInt64Array, BigUint64Array,
];
const typedArrayNames = new Map<object | null, string>(TYPED_ARRAYS.map((one) => [one.prototype, one.name]));

/** Builds the tagged copy. `ancestors` are the containers being walked: meeting one again is a cycle.
 *
 *  Two calls deep for each level of the value, and no callbacks: a guest's stack holds few frames of interpreted code.
 */
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
        return value === null ? null : this.#container(value as object);
    }
  }

  /** Whatever has items is walked here; the rest is a leaf. */
  #container(value: object): unknown {
    const prototype = getPrototypeOf(value);
    const plain = prototype === ObjectPrototype || prototype === null;
    const keyed = plain || prototype === Map.prototype;
    if (!keyed && prototype !== Set.prototype && !(prototype === ArrayPrototype && isArray(value))) {
      return this.#leaf(value, prototype);
    }
    if (this.#ancestors.includes(value)) this.#refuse("a cycle: the value contains itself");
    if (this.#ancestors.length >= DEPTH_MAX) this.#refuse(`nested more than ${DEPTH_MAX} levels deep`);
    const names = plain ? keys(value) : undefined;
    const items = names === undefined ? this.#itemsOf(value) : names;
    this.#ancestors.push(value);
    const path = this.#path;
    const encoded: unknown[] = [];
    for (let i = 0; i < items.length; i++) {
      if (plain) {
        path.push(items[i] as string);
        encoded.push(this.encode((value as Record<string, unknown>)[items[i] as string]));
      } else if (keyed) {
        const [key, item] = items[i] as [unknown, unknown];
        path.push(`<key ${i}>`);
        const encodedKey = this.encode(key);
        path[path.length - 1] = i;
        encoded.push([encodedKey, this.encode(item)]);
      } else {
        path.push(i);
        encoded.push(this.encode(items[i]));
      }
      path.pop();
    }
    this.#ancestors.pop();
    if (names !== undefined) return objectOf(names, encoded);
    return prototype === ArrayPrototype ? encoded : keyed ? { $map: encoded } : { $set: encoded };
  }

  #itemsOf(value: object): readonly unknown[] {
    if (isArray(value)) return value;
    try {
      return Array.from(
        getPrototypeOf(value) === Map.prototype
          ? mapEntries.call(value as Map<unknown, unknown>)
          : setValues.call(value as Set<unknown>),
      );
    } catch {
      return this.#refuse("an object that only pretends to be a Map or a Set");
    }
  }

  #leaf(value: object, prototype: object | null): unknown {
    try {
      if (prototype === Date.prototype) {
        const time = dateTime.call(value as Date);
        return { $date: time === time ? time : null };
      }
      if (prototype === RegExp.prototype) return { $regexp: [(value as RegExp).source, (value as RegExp).flags] };
      const name = bytesName(prototype);
      if (name !== undefined) return { $bytes: [name, base64Of(value as ArrayBuffer | ArrayBufferView)] };
    } catch (error) {
      // an object that only pretends, such as Object.create(Date.prototype), or a detached buffer
      this.#refuse((error as Error).message);
    }
    return this.#refuse(instanceDescription(value));
  }

  #refuse(what: string): never {
    throw new CodecError(`${pathText(this.#path)} cannot be sent or stored: ${what}`);
  }
}

/** The object with these keys and encoded values, wrapped when a key looks like a tag. */
function objectOf(names: readonly string[], values: readonly unknown[]): unknown {
  const copy: Record<string, unknown> = {};
  let wrap = false;
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    if (name.charCodeAt(0) === 36) wrap = true;
    if (name === "__proto__") defineProperty(copy, name, { value: values[i], enumerable: true });
    else copy[name] = values[i];
  }
  return wrap ? { $object: copy } : copy;
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
