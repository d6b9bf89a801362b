/** crypto.subtle: digests, HMAC, and verifying Ed25519 and RSASSA-PKCS1-v1_5 signatures.
 *
 *  The arithmetic is the host's; here are the rules of Web Crypto: which algorithm, which key, which use, and the error
 *  for each. What is not there (signing with a private key, encryption, derivation) is a NotSupportedError.
 */
import { digest as hostDigest, hmac as hostHmac, verify as hostVerify } from "tenure:edge/crypto@0.1.0";
import { bytes as randomBytes } from "tenure:edge/random@0.1.0";
import { requireServing } from "../phase.ts";
import { exportJwk, importJwk, type JsonWebKey } from "./jwk.ts";
import {
  CryptoKey, hmacKey, materialOf, publicKey, type AlgorithmName, type Bytes, type HashName, type KeyUsage,
} from "./crypto_key.ts";
import { ed25519Raw, ed25519Spki, rsaParts } from "./der.ts";

type BufferSource = ArrayBuffer | ArrayBufferView;
type Identifier = string | { readonly name: string };
type Parameters = Identifier | { readonly name: string; readonly hash?: Identifier; readonly length?: number };

/** How many bytes a hash works on at a time: the length of an HMAC key that is made for it. */
const BLOCK_BYTES: Record<HashName, number> = { "SHA-1": 64, "SHA-256": 64, "SHA-384": 128, "SHA-512": 128 };
const HASHES = new Map((Object.keys(BLOCK_BYTES) as HashName[]).map((name) => [name, name]));
const ALGORITHMS = new Map<string, AlgorithmName>([
  ["HMAC", "HMAC"], ["ED25519", "Ed25519"], ["RSASSA-PKCS1-V1_5", "RSASSA-PKCS1-v1_5"],
]);
const USAGES = new Set(
  ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"],
);
const FORMATS = new Set(["raw", "spki", "pkcs8", "jwk"]);
const HMAC_KEY_BITS_MAX = 65_536 * 8;

function notSupported(what: string): DOMException {
  return new DOMException(`${what} is not supported`, "NotSupportedError");
}

function dataError(what: string): DOMException {
  return new DOMException(what, "DataError");
}

/** A copy of the bytes, in base64: what the author changes later changes nothing here. */
function base64Of(source: BufferSource): string {
  return bytesOf(source).toBase64();
}

function bytesOf(source: BufferSource): Bytes {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (!ArrayBuffer.isView(source)) throw new TypeError("the data must be an ArrayBuffer or a view of one");
  return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
}

function bufferOf(base64: string): ArrayBuffer {
  return Uint8Array.fromBase64(base64).buffer;
}

function nameOf(algorithm: Identifier): string {
  if (typeof algorithm === "string") return algorithm;
  const name = (algorithm as { name?: unknown } | null | undefined)?.name;
  if (name === undefined) throw new TypeError("an algorithm is a name, or an object with a name");
  return String(name);
}

function hashOf(algorithm: Identifier | undefined): HashName {
  if (algorithm === undefined) throw new TypeError("the algorithm needs a hash");
  const name = nameOf(algorithm);
  return HASHES.get(name.toUpperCase() as HashName) ?? raise(notSupported(`the hash ${name}`));
}

function algorithmOf(algorithm: Identifier): AlgorithmName {
  const name = nameOf(algorithm);
  return ALGORITHMS.get(name.toUpperCase()) ?? raise(notSupported(`the algorithm ${name}`));
}

function raise(error: unknown): never {
  throw error;
}

/** The usages without repetitions. Raises SyntaxError for one that `allowed` has not, TypeError for no usage at all. */
function checkedUsages(usages: Iterable<KeyUsage>, allowed: readonly KeyUsage[]): KeyUsage[] {
  const wanted = new Set(Array.from(usages, String));
  for (const usage of wanted) {
    if (!USAGES.has(usage)) throw new TypeError(`${JSON.stringify(usage)} is no usage of a key`);
    if (!allowed.includes(usage)) throw new DOMException(`such a key cannot ${usage}`, "SyntaxError");
  }
  return [...USAGES].filter((usage) => wanted.has(usage));
}

/** Raises InvalidAccessError when `key` is for another algorithm or another use. */
function requireUse(key: CryptoKey, name: AlgorithmName, usage: KeyUsage): void {
  if (key.algorithm.name !== name) {
    throw new DOMException(`the key is for ${key.algorithm.name}, not for ${name}`, "InvalidAccessError");
  }
  if (!key.usages.includes(usage)) throw new DOMException(`the key is not for ${usage}`, "InvalidAccessError");
}

/** Takes as long wherever the two differ. */
function equalBytes(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false;
  let different = 0;
  for (let i = 0; i < a.length; i++) different |= a[i]! ^ b[i]!;
  return different === 0;
}

export class SubtleCrypto {
  async digest(algorithm: Identifier, data: BufferSource): Promise<ArrayBuffer> {
    requireServing("crypto.subtle");
    return bufferOf(hostDigest(hashOf(algorithm), base64Of(data))!);
  }

  async sign(algorithm: Identifier, key: CryptoKey, data: BufferSource): Promise<ArrayBuffer> {
    requireServing("crypto.subtle");
    const material = materialOf(key);
    const name = algorithmOf(algorithm);
    const content = base64Of(data);
    requireUse(key, name, "sign");
    return bufferOf(hostHmac(key.algorithm.hash!.name, material, content)!);
  }

  async verify(algorithm: Identifier, key: CryptoKey, signature: BufferSource, data: BufferSource): Promise<boolean> {
    requireServing("crypto.subtle");
    const material = materialOf(key);
    const name = algorithmOf(algorithm);
    const [signed, content] = [base64Of(signature), base64Of(data)];
    requireUse(key, name, "verify");
    const hash = key.algorithm.hash?.name;
    if (name === "HMAC") {
      return equalBytes(Uint8Array.fromBase64(hostHmac(hash!, material, content)!), Uint8Array.fromBase64(signed));
    }
    return hostVerify(name === "Ed25519" ? name : `${name}/${hash!}`, material, signed, content) === true;
  }

  async importKey(
    format: string, data: BufferSource | JsonWebKey, algorithm: Parameters, extractable: boolean,
    usages: Iterable<KeyUsage>,
  ): Promise<CryptoKey> {
    requireServing("crypto.subtle");
    if (!FORMATS.has(format)) throw new TypeError(`${JSON.stringify(format)} is no format of a key`);
    const isBytes = data instanceof ArrayBuffer || ArrayBuffer.isView(data);
    if (isBytes === (format === "jwk")) throw new TypeError(`the key is not in the format ${format}`);
    const name = algorithmOf(algorithm);
    const allowed = checkedUsages(usages, name === "HMAC" ? ["sign", "verify"] : ["verify"]);
    const hash = name === "Ed25519" ? undefined : hashOf((algorithm as { hash?: Identifier }).hash);
    if (format === "pkcs8") throw notSupported("a private key");
    if (name === "HMAC") {
      if (format === "spki") throw notSupported("the format spki for HMAC");
      const secret = isBytes ? bytesOf(data).slice() : importJwk(data, name, hash, extractable, allowed);
      return importHmac(secret, hash!, (algorithm as { length?: number }).length, Boolean(extractable), allowed);
    }
    if (format === "raw" && name !== "Ed25519") throw notSupported(`the format raw for ${name}`);
    const spki =
      format === "jwk" ? importJwk(data as JsonWebKey, name, hash, extractable, allowed)
      : format === "raw" ? ed25519Spki(bytesOf(data as BufferSource))
      : bytesOf(data as BufferSource).slice();
    return importPublic(name, spki, hash, Boolean(extractable), allowed);
  }

  async exportKey(format: string, key: CryptoKey): Promise<ArrayBuffer | JsonWebKey> {
    const material = Uint8Array.fromBase64(materialOf(key));
    if (!FORMATS.has(format)) throw new TypeError(`${JSON.stringify(format)} is no format of a key`);
    if (!key.extractable) throw new DOMException("the key is not extractable", "InvalidAccessError");
    if (format === "jwk") return exportJwk(key, material);
    const { name } = key.algorithm;
    if (format === "raw" && name === "HMAC") return material.buffer;
    if (format === "raw" && name === "Ed25519") return ed25519Raw(material)!.buffer;
    if (format === "spki" && name !== "HMAC") return material.buffer;
    throw notSupported(`the format ${format} for ${name}`);
  }

  async generateKey(algorithm: Parameters, extractable: boolean, usages: Iterable<KeyUsage>): Promise<CryptoKey> {
    requireServing("crypto.subtle");
    const name = algorithmOf(algorithm);
    if (name !== "HMAC") throw notSupported(`generating a key for ${name}`);
    const { hash, length } = algorithm as { hash?: Identifier; length?: number };
    const hashName = hashOf(hash);
    const allowed = checkedUsages(usages, ["sign", "verify"]);
    const bits = length === undefined ? BLOCK_BYTES[hashName] * 8 : Number(length);
    if (!(bits > 0 && bits <= HMAC_KEY_BITS_MAX) || bits % 8 !== 0) {
      throw new DOMException("the length of an HMAC key is a number of bits, a multiple of 8", "OperationError");
    }
    if (allowed.length === 0) throw new DOMException("a secret key needs a usage", "SyntaxError");
    return hmacKey(Uint8Array.fromBase64(randomBytes(bits / 8)), hashName, Boolean(extractable), allowed);
  }

  async encrypt(): Promise<never> {
    throw notSupported("encrypt");
  }

  async decrypt(): Promise<never> {
    throw notSupported("decrypt");
  }

  async deriveBits(): Promise<never> {
    throw notSupported("deriveBits");
  }

  async deriveKey(): Promise<never> {
    throw notSupported("deriveKey");
  }

  async wrapKey(): Promise<never> {
    throw notSupported("wrapKey");
  }

  async unwrapKey(): Promise<never> {
    throw notSupported("unwrapKey");
  }

  get [Symbol.toStringTag](): string {
    return "SubtleCrypto";
  }
}

function importHmac(
  secret: Bytes | null, hash: HashName, length: number | undefined, extractable: boolean, usages: readonly KeyUsage[],
): CryptoKey {
  if (secret === null || secret.length === 0) throw dataError("an HMAC key must not be empty");
  if (length !== undefined && length !== secret.length * 8) throw dataError("the key has not the length that is given");
  if (usages.length === 0) throw new DOMException("a secret key needs a usage", "SyntaxError");
  return hmacKey(secret, hash, extractable, usages);
}

function importPublic(
  name: "Ed25519" | "RSASSA-PKCS1-v1_5", spki: Bytes | null, hash: HashName | undefined, extractable: boolean,
  usages: readonly KeyUsage[],
): CryptoKey {
  const wellFormed = spki !== null && (name === "Ed25519" ? ed25519Raw(spki) : rsaParts(spki)) !== null;
  // an empty signature is wrong under every key, so the answer tells only whether the key is one
  const asked = hash === undefined ? name : `${name}/${hash}`;
  if (!wellFormed || hostVerify(asked, spki.toBase64(), "", "") === null) throw dataError(`that is no key for ${name}`);
  return publicKey(name, spki, hash, extractable, usages);
}
