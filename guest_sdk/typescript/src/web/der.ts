/** Public keys as Web Crypto moves them: DER SubjectPublicKeyInfo (RFC 5280, RFC 8410), and only the two kinds that
 *  there are, RSA and Ed25519. Lengths must be written in the shortest way, as DER asks.
 */
import { joinBytes } from "./blob.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const ED25519_PREFIX = Uint8Array.fromHex("302a300506032b6570032100");
const ED25519_BYTES = 32;
const RSA_ALGORITHM = Uint8Array.fromHex("300d06092a864886f70d0101010500");
const [INTEGER, BIT_STRING, SEQUENCE] = [0x02, 0x03, 0x30];

/** Modulus and exponent, as big-endian bytes without leading zeros. */
export interface RsaParts {
  readonly modulus: Bytes;
  readonly exponent: Bytes;
}

export function ed25519Spki(raw: Bytes): Bytes | null {
  return raw.length === ED25519_BYTES ? joinBytes([ED25519_PREFIX, raw]) : null;
}

export function ed25519Raw(spki: Bytes): Bytes | null {
  const length = ED25519_PREFIX.length;
  return spki.length === length + ED25519_BYTES && startsWith(spki, ED25519_PREFIX) ? spki.slice(length) : null;
}

export function rsaSpki({ modulus, exponent }: RsaParts): Bytes {
  const key = element(SEQUENCE, integer(modulus), integer(exponent));
  return element(SEQUENCE, RSA_ALGORITHM, element(BIT_STRING, new Uint8Array(1), key));
}

/** The parts of an RSA key; null when `spki` is anything else. */
export function rsaParts(spki: Bytes): RsaParts | null {
  const outer = contentOf(spki, SEQUENCE);
  if (outer === null || !startsWith(outer.content, RSA_ALGORITHM) || outer.rest.length > 0) return null;
  const bits = contentOf(outer.content.subarray(RSA_ALGORITHM.length), BIT_STRING);
  if (bits === null || bits.rest.length > 0 || bits.content[0] !== 0) return null;
  const key = contentOf(bits.content.subarray(1), SEQUENCE);
  if (key === null || key.rest.length > 0) return null;
  const modulus = contentOf(key.content, INTEGER);
  const exponent = modulus === null ? null : contentOf(modulus.rest, INTEGER);
  if (exponent === null || exponent.rest.length > 0) return null;
  return { modulus: withoutZeros(modulus!.content), exponent: withoutZeros(exponent.content) };
}

function startsWith(bytes: Bytes, prefix: Bytes): boolean {
  return bytes.length >= prefix.length && prefix.every((byte, i) => bytes[i] === byte);
}

export function withoutZeros(bytes: Bytes): Bytes {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? new Uint8Array(0) : bytes.slice(first);
}

/** An unsigned number: a zero byte keeps its first bit from being a sign. */
function integer(bytes: Bytes): Bytes {
  return element(INTEGER, bytes.length === 0 || bytes[0]! >= 0x80 ? new Uint8Array(1) : new Uint8Array(0), bytes);
}

function element(tag: number, ...contents: Bytes[]): Bytes {
  const content = joinBytes(contents);
  const length = content.length;
  const head =
    length < 0x80 ? [tag, length]
    : length < 0x100 ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 0xff];
  return joinBytes([new Uint8Array(head), content]);
}

/** What the element at the start of `bytes` holds, and what follows it; null when it is not of this tag. */
function contentOf(bytes: Bytes, tag: number): { content: Bytes; rest: Bytes } | null {
  if (bytes[0] !== tag) return null;
  const first = bytes[1] ?? 0xff;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 2) return null;
  let length = lengthBytes === 0 ? first : 0;
  for (let i = 0; i < lengthBytes; i++) length = length * 256 + (bytes[2 + i] ?? 0);
  const start = 2 + lengthBytes;
  const shortest = lengthBytes === 0 || length >= (lengthBytes === 1 ? 0x80 : 0x100);
  if (!shortest || start + length > bytes.length) return null;
  return { content: bytes.subarray(start, start + length), rest: bytes.subarray(start + length) };
}
