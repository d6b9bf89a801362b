/** CryptoKey: a key that can be used, and looked into only as far as whoever made it allows.
 *
 *  Its material is in a private field, and only this module makes one: an object that looks like a key is none.
 */
import { rsaParts } from "./der.ts";

export type Bytes = Uint8Array<ArrayBuffer>;
export type KeyUsage = string;
export type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
export type AlgorithmName = "HMAC" | "Ed25519" | "RSASSA-PKCS1-v1_5";

export interface KeyAlgorithm {
  readonly name: AlgorithmName;
  readonly hash?: { readonly name: HashName };
  /** HMAC: bits. */
  readonly length?: number;
  /** RSA: bits. */
  readonly modulusLength?: number;
  readonly publicExponent?: Bytes;
}

const INTERNAL = Symbol("internal");

/** The secret of an HMAC key, or the SubjectPublicKeyInfo of a public one, in base64. Raises TypeError for no key. */
export let materialOf: (key: CryptoKey) => string;

export class CryptoKey {
  readonly #material: string;
  readonly #algorithm: KeyAlgorithm;
  readonly #usages: readonly KeyUsage[];
  readonly #extractable: boolean;

  static {
    materialOf = (key) => {
      if (typeof key !== "object" || key === null || !(#material in key)) throw new TypeError("that is not a CryptoKey");
      return key.#material;
    };
  }

  constructor(
    key?: symbol, material = "", algorithm?: KeyAlgorithm, extractable = false, usages: readonly KeyUsage[] = [],
  ) {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor: use crypto.subtle.importKey or generateKey");
    this.#material = material;
    this.#algorithm = algorithm!;
    this.#extractable = extractable;
    this.#usages = usages;
  }

  get type(): "secret" | "public" {
    return this.#algorithm.name === "HMAC" ? "secret" : "public";
  }

  get extractable(): boolean {
    return this.#extractable;
  }

  /** A copy: what an author writes into it changes no key. */
  get algorithm(): KeyAlgorithm {
    const { hash, publicExponent, ...rest } = this.#algorithm;
    return {
      ...rest,
      ...(hash === undefined ? {} : { hash: { ...hash } }),
      ...(publicExponent === undefined ? {} : { publicExponent: publicExponent.slice() }),
    };
  }

  get usages(): KeyUsage[] {
    return [...this.#usages];
  }

  get [Symbol.toStringTag](): string {
    return "CryptoKey";
  }
}

export function hmacKey(secret: Bytes, hash: HashName, extractable: boolean, usages: readonly KeyUsage[]): CryptoKey {
  const algorithm: KeyAlgorithm = { name: "HMAC", length: secret.length * 8, hash: { name: hash } };
  return new CryptoKey(INTERNAL, secret.toBase64(), algorithm, extractable, usages);
}

/** A key for verifying. */
export function publicKey(
  name: "Ed25519" | "RSASSA-PKCS1-v1_5", spki: Bytes, hash: HashName | undefined, extractable: boolean,
  usages: readonly KeyUsage[],
): CryptoKey {
  const parts = name === "Ed25519" ? null : rsaParts(spki)!;
  const algorithm: KeyAlgorithm =
    parts === null ? { name } : {
      name, modulusLength: bitLength(parts.modulus), publicExponent: parts.exponent, hash: { name: hash! },
    };
  return new CryptoKey(INTERNAL, spki.toBase64(), algorithm, extractable, usages);
}

function bitLength(bytes: Bytes): number {
  return bytes.length === 0 ? 0 : bytes.length * 8 - (Math.clz32(bytes[0]!) - 24);
}
