/** JSON Web Keys (RFC 7517) of the algorithms that crypto.subtle has: what each says about its key must fit. */
import type { AlgorithmName, Bytes, CryptoKey, HashName, KeyUsage } from "./crypto_key.ts";
import { ed25519Raw, ed25519Spki, rsaParts, rsaSpki, withoutZeros } from "./der.ts";

export interface JsonWebKey {
  kty?: string;
  use?: string;
  key_ops?: string[];
  alg?: string;
  ext?: boolean;
  k?: string;
  crv?: string;
  x?: string;
  n?: string;
  e?: string;
  d?: string;
}

const BASE64URL = { alphabet: "base64url", omitPadding: true } as const;

function refuse(what: string): never {
  throw new DOMException(what, "DataError");
}

function field(value: unknown, name: string): Bytes {
  if (typeof value !== "string" || value.includes("=")) return refuse(`the key's "${name}" must be base64url`);
  try {
    return Uint8Array.fromBase64(value, BASE64URL);
  } catch {
    return refuse(`the key's "${name}" is not base64url`);
  }
}

/** The secret of an HMAC key, or the SubjectPublicKeyInfo of a public one. Raises DataError, or NotSupportedError for a
 *  private key. */
export function importJwk(
  jwk: JsonWebKey, name: AlgorithmName, hash: HashName | undefined, extractable: boolean, usages: readonly KeyUsage[],
): Bytes {
  const kty = name === "HMAC" ? "oct" : name === "Ed25519" ? "OKP" : "RSA";
  if (jwk.kty !== kty) refuse(`the key's "kty" must be ${kty}`);
  if (name !== "HMAC" && jwk.d !== undefined) throw new DOMException("a private key is not supported", "NotSupportedError");
  if (jwk.use !== undefined && usages.length > 0 && jwk.use !== "sig") refuse('the key\'s "use" must be sig');
  if (jwk.key_ops !== undefined) {
    if (!Array.isArray(jwk.key_ops) || usages.some((usage) => !jwk.key_ops!.includes(usage))) {
      refuse('the key\'s "key_ops" do not allow these usages');
    }
  }
  if (jwk.ext === false && extractable) refuse('the key\'s "ext" forbids that it is extractable');
  if (jwk.alg !== undefined && !algNames(name, hash).includes(jwk.alg)) refuse('the key\'s "alg" is for another algorithm');
  if (name === "HMAC") return field(jwk.k, "k");
  if (name === "Ed25519") {
    if (jwk.crv !== "Ed25519") refuse('the key\'s "crv" must be Ed25519');
    return ed25519Spki(field(jwk.x, "x")) ?? refuse('the key\'s "x" must have 32 bytes');
  }
  return rsaSpki({ modulus: withoutZeros(field(jwk.n, "n")), exponent: withoutZeros(field(jwk.e, "e")) });
}

/** What "alg" may say: HS256, RS512 and so on. */
function algNames(name: AlgorithmName, hash: HashName | undefined): string[] {
  if (name === "Ed25519") return ["Ed25519", "EdDSA"];
  return [`${name === "HMAC" ? "HS" : "RS"}${hash!.slice("SHA-".length)}`];
}

export function exportJwk(key: CryptoKey, material: Bytes): JsonWebKey {
  const { name, hash } = key.algorithm;
  const base = { key_ops: key.usages, ext: key.extractable, alg: algNames(name, hash?.name)[0]! };
  if (name === "HMAC") return { kty: "oct", k: material.toBase64(BASE64URL), ...base };
  if (name === "Ed25519") return { kty: "OKP", crv: "Ed25519", x: ed25519Raw(material)!.toBase64(BASE64URL), ...base };
  const { modulus, exponent } = rsaParts(material)!;
  return { kty: "RSA", n: modulus.toBase64(BASE64URL), e: exponent.toBase64(BASE64URL), ...base };
}
