/** The host's imports as node can give them: the pure ones, with node's own parsers as the reference. */
import { createHash, createHmac, createPublicKey, randomBytes, verify as verifySignature } from "node:crypto";

const { URL: NodeURL, TextDecoder: NodeDecoder, TextEncoder: NodeEncoder } = globalThis as any;

function parts(url: any): string {
  const names = [
    "href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin",
  ];
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, url[name]])));
}

export function parseUrl(input: string, base: string | null): string | null {
  try {
    return parts(new NodeURL(input, base ?? undefined));
  } catch {
    return null;
  }
}

export function setUrl(href: string, property: string, value: string): string | null {
  const url = new NodeURL(href);
  try {
    url[property] = value;
  } catch {
    return null;
  }
  return parts(url);
}

export function encodeUtf8(text: string): string {
  return Buffer.from(new NodeEncoder().encode(text)).toString("base64");
}

export function decodeUtf8(base64: string, fatal: boolean): string | null {
  try {
    return new NodeDecoder("utf-8", { fatal, ignoreBOM: true }).decode(Buffer.from(base64, "base64"));
  } catch {
    return null;
  }
}

const HASHES = ["SHA-1", "SHA-256", "SHA-384", "SHA-512"];

export function digest(algorithm: string, data: string): string | null {
  if (!HASHES.includes(algorithm)) return null;
  return createHash(algorithm.replace("-", "")).update(Buffer.from(data, "base64")).digest("base64");
}

export function hmac(hash: string, key: string, data: string): string | null {
  if (!HASHES.includes(hash)) return null;
  return createHmac(hash.replace("-", ""), Buffer.from(key, "base64"))
    .update(Buffer.from(data, "base64")).digest("base64");
}

export function verify(algorithm: string, key: string, signature: string, data: string): boolean | null {
  const [name, hash] = algorithm.split("/");
  try {
    const spki = createPublicKey({ key: Buffer.from(key, "base64"), format: "der", type: "spki" });
    if (spki.asymmetricKeyType !== (name === "Ed25519" ? "ed25519" : "rsa")) return null;
    const content = Buffer.from(data, "base64");
    return verifySignature(hash?.replace("-", "") ?? null, content, spki, Buffer.from(signature, "base64"));
  } catch {
    return null;
  }
}

export function bytes(count: number): string {
  return randomBytes(count).toString("base64");
}

export function now(): number {
  return Date.now();
}

export function monotonic(): number {
  return performance.now();
}

const missing = (): never => {
  throw new Error("there is no host in this test");
};
export const write = missing;
export const start = missing;
export const cancel = missing;
export const fetch = missing;
