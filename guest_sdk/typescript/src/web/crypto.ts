/** Randomness: cryptographically strong bytes from the host, and a fast generator for Math.random seeded from them.
 *
 *  Nothing here may be drawn while the module is being built: it would be the same in every instance.
 */
import { bytes as hostBytes } from "tenure:edge/random@0.1.0";
import { requireServing } from "../phase.ts";
import { SubtleCrypto } from "./subtle.ts";

const BYTES_MAX = 65_536;
const FLOATS = new Set(["Float16Array", "Float32Array", "Float64Array", "DataView"]);
const typedArrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag,
)!.get!;

function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(hostBytes(count));
}

export class Crypto {
  readonly #subtle = new SubtleCrypto();

  get subtle(): SubtleCrypto {
    return this.#subtle;
  }

  getRandomValues<T extends ArrayBufferView>(view: T): T {
    requireServing("crypto.getRandomValues");
    const name: unknown = ArrayBuffer.isView(view) ? typedArrayName.call(view) : undefined;
    if (typeof name !== "string" || FLOATS.has(name)) {
      throw new DOMException("getRandomValues takes an array of integers", "TypeMismatchError");
    }
    if (view.byteLength > BYTES_MAX) {
      throw new DOMException(`getRandomValues gives at most ${BYTES_MAX} bytes at a time`, "QuotaExceededError");
    }
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(randomBytes(view.byteLength));
    return view;
  }

  randomUUID(): string {
    requireServing("crypto.randomUUID");
    const bytes = randomBytes(16);
    bytes[6] = (bytes[6]! & 0x0f) | 0x40;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const hex = bytes.toHex();
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
}

let state: Uint32Array | undefined;

/** The sfc32 generator, 53 random bits a number. */
export function mathRandom(): number {
  if (state === undefined) {
    requireServing("Math.random");
    state = new Uint32Array(randomBytes(16).buffer);
  }
  return ((next(state) >>> 5) * 0x4000000 + (next(state) >>> 6)) / 0x20000000000000;
}

function next(s: Uint32Array): number {
  const sum = (s[0]! + s[1]! + s[3]!) | 0;
  s[3] = s[3]! + 1;
  s[0] = s[1]! ^ (s[1]! >>> 9);
  s[1] = s[2]! + (s[2]! << 3);
  s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + sum;
  return sum;
}
