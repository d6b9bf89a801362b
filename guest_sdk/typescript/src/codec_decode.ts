/** The slow half of decoding: a parsed text that has tags. See codec.ts, and codec.md for the form of each tag. */
import { CodecError } from "./errors.ts";

const { keys } = Object;
const isArray = Array.isArray;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Decoder = (content: Json) => unknown;

/** Replaces every tag inside `value` by what it stands for. Raises CodecError on an unknown or malformed tag. */
export function decodeTagged(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = decodeTagged(value[i]);
    return value;
  }
  const names = keys(value);
  const first = names[0];
  if (first !== undefined && first.charCodeAt(0) === 36) {
    const decoder = names.length === 1 ? DECODERS.get(first) : undefined;
    if (decoder === undefined) throw new CodecError(`a wire value has an unknown tag ${JSON.stringify(first)}`);
    return decoder((value as Record<string, Json>)[first]!);
  }
  return decodeItems(value as Record<string, unknown>, names, false);
}

/** Decodes the items in place. Every key is an own property already, `__proto__` too, so assignment is safe. */
function decodeItems(value: Record<string, unknown>, names: string[], literal: boolean): unknown {
  for (const name of names) {
    if (!literal && name.charCodeAt(0) === 36) {
      throw new CodecError(`a wire value has an unknown tag ${JSON.stringify(name)}`);
    }
    value[name] = decodeTagged(value[name]);
  }
  return value;
}

function malformed(tag: string): never {
  throw new CodecError(`a wire value has a malformed ${tag}`);
}

const NUMBERS = new Map<Json, number>([
  ["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity], ["-0", -0],
]);

const INTEGER = /^(?:0|-?[1-9][0-9]*)$/;

type ArrayConstructor = { new (buffer: ArrayBuffer): ArrayBufferView; name: string; BYTES_PER_ELEMENT: number };

const VIEWS = new Map<string, ArrayConstructor>(
  [
    Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float16Array,
    Float32Array, Float64Array, BigInt64Array, BigUint64Array,
  ].map((one) => [one.name, one as unknown as ArrayConstructor]),
);

function decodeBytes(content: Json): unknown {
  if (!isArray(content) || content.length !== 2) malformed("$bytes");
  const [name, base64] = content;
  if (typeof name !== "string" || typeof base64 !== "string") malformed("$bytes");
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" });
  } catch {
    malformed("$bytes");
  }
  if (name === "Uint8Array") return bytes;
  if (name === "ArrayBuffer") return bytes.buffer;
  if (name === "DataView") return new DataView(bytes.buffer);
  const view = VIEWS.get(name);
  if (view === undefined || bytes.length % view.BYTES_PER_ELEMENT !== 0) malformed("$bytes");
  return new view(bytes.buffer);
}

function decodeRegexp(content: Json): unknown {
  if (!isArray(content) || content.length !== 2) malformed("$regexp");
  const [source, flags] = content;
  if (typeof source !== "string" || typeof flags !== "string") malformed("$regexp");
  try {
    return new RegExp(source, flags);
  } catch {
    malformed("$regexp");
  }
}

function decodeMap(content: Json): unknown {
  if (!isArray(content)) malformed("$map");
  const map = new Map<unknown, unknown>();
  for (const entry of content) {
    if (!isArray(entry) || entry.length !== 2) malformed("$map");
    map.set(decodeTagged(entry[0]), decodeTagged(entry[1]));
  }
  return map;
}

function decodeSet(content: Json): unknown {
  if (!isArray(content)) malformed("$set");
  return new Set(content.map(decodeTagged));
}

const DECODERS = new Map<string, Decoder>([
  ["$undefined", (content) => (content === 0 ? undefined : malformed("$undefined"))],
  ["$number", (content) => NUMBERS.get(content) ?? malformed("$number")],
  ["$bigint", (content) =>
    typeof content === "string" && INTEGER.test(content) ? BigInt(content) : malformed("$bigint")],
  ["$date", (content) =>
    content === null || typeof content === "number" ? new Date(content ?? NaN) : malformed("$date")],
  ["$map", decodeMap],
  ["$set", decodeSet],
  ["$regexp", decodeRegexp],
  ["$bytes", decodeBytes],
  ["$object", (content) => {
    if (typeof content !== "object" || content === null || isArray(content)) malformed("$object");
    return decodeItems(content, keys(content), true);
  }],
]);
