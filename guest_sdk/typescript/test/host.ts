/** The host's imports as node can give them: the pure ones, with node's own parsers as the reference. */
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

const missing = (): never => {
  throw new Error("there is no host in this test");
};
export const write = missing;
export const now = missing;
export const monotonic = missing;
export const bytes = missing;
export const start = missing;
export const cancel = missing;
