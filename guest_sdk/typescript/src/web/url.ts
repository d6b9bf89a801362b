/** URL. The URLs of everyday requests are split by two regular expressions; the rest is parsed by the host.
 *
 *  The expressions accept only what the WHATWG parser would leave as it is: http or https, a lower-case name, a port
 *  that is not the default one, and characters that need no percent-encoding. What is in doubt goes to the host, which
 *  has a complete parser.
 */
import * as web from "tenure:edge/web@0.1.0";
import { requireServing } from "../phase.ts";
import { URLSearchParams, linkToUrl, replaceFromUrl } from "./url_search_params.ts";

interface Parts {
  href: string;
  protocol: string;
  username: string;
  password: string;
  host: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
  origin: string;
}

/** A scheme, host and port that stay as they are. */
interface Origin {
  readonly text: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port: string;
}

/** A URL that stays as it is. `rest` is the expression's match: 1 path, 2 query, 3 fragment. */
interface Plain {
  readonly origin: Origin;
  readonly rest: RegExpExecArray;
}

const ORIGIN = /^(https?):\/\/((?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*)(?::([1-9][0-9]{0,4}))?(?=[/?#]|$)/;
const REST =
  /^(\/[\w\-.~!$&'()*+,;=:@%\/]*)?(\?[\w\-.~!$&()*+,;=:@%\/?[\]]*)?(#[\w\-.~!$&'()*+,;=:@%\/?]*)?$/;
const PERCENT_DOT = /%2e/i;
const { parse } = JSON;

// the requests of an instance all come to one origin, so the last one is nearly always the next one
let lastOrigin: Origin = { text: "http://localhost", protocol: "http:", hostname: "localhost", port: "" };

function splitPlain(input: string): Plain | null {
  const origin = plainOrigin(input);
  const rest = origin === null ? null : REST.exec(input.slice(origin.text.length));
  if (rest === null) return null;
  const path = rest[1];
  if (path !== undefined && (path.includes("/.") || (path.includes("%") && PERCENT_DOT.test(path)))) return null;
  return { origin: origin!, rest };
}

function plainOrigin(input: string): Origin | null {
  const last = lastOrigin;
  if (input.startsWith(last.text) && input.charCodeAt(last.text.length) === 47) return last;
  const found = ORIGIN.exec(input);
  if (found === null) return null;
  const [text, scheme, hostname, port = ""] = found;
  if (port === (scheme === "http" ? "80" : "443") || +port > 65535 || hostname!.includes("xn--")) return null;
  return (lastOrigin = { text, protocol: `${scheme}:`, hostname: hostname!, port });
}

function parseOnHost(input: string, base: string | null): Parts | null {
  requireServing("parsing this URL");
  const json = web.parseUrl(input.toWellFormed(), base);
  return json === null ? null : (parse(json) as Parts);
}

function partsOfPlain({ origin: { text, protocol, hostname, port }, rest }: Plain): Parts {
  const [, pathname = "/", search = "", hash = ""] = rest;
  return {
    href: text + pathname + search + hash, origin: text, protocol, username: "", password: "",
    host: port === "" ? hostname : `${hostname}:${port}`, hostname, port, pathname,
    search: search === "?" ? "" : search, hash: hash === "#" ? "" : hash,
  };
}

export class URL {
  // exactly one of the two is set
  #plain: Plain | null;
  #parts: Parts | undefined;
  #params: URLSearchParams | undefined;

  constructor(input: string | URL, base?: string | URL) {
    const text = String(input);
    this.#plain = splitPlain(text);
    if (this.#plain !== null) {
      if (base !== undefined) new URL(base); // a base that is no URL is an error even when it is not needed
      return;
    }
    const parts = parseOnHost(text, base === undefined ? null : new URL(base).href);
    if (parts === null) throw new TypeError(`Invalid URL: ${text}`);
    this.#parts = parts;
  }

  static canParse(input: string | URL, base?: string | URL): boolean {
    return URL.parse(input, base) !== null;
  }

  static parse(input: string | URL, base?: string | URL): URL | null {
    try {
      return new URL(input, base);
    } catch (error) {
      if (error instanceof TypeError) return null;
      throw error;
    }
  }

  get href(): string {
    return this.#all().href;
  }

  set href(value: string) {
    const text = String(value);
    const parts = parseOnHost(text, null);
    if (parts === null) throw new TypeError(`Invalid URL: ${text}`);
    this.#replace(parts);
  }

  get pathname(): string {
    const plain = this.#plain;
    return plain !== null ? plain.rest[1] ?? "/" : this.#all().pathname;
  }

  get search(): string {
    const plain = this.#plain;
    if (plain === null) return this.#all().search;
    const search = plain.rest[2];
    return search === undefined || search === "?" ? "" : search;
  }

  get origin(): string {
    return this.#all().origin;
  }

  get protocol(): string {
    return this.#all().protocol;
  }

  get username(): string {
    return this.#all().username;
  }

  get password(): string {
    return this.#all().password;
  }

  get host(): string {
    return this.#all().host;
  }

  get hostname(): string {
    return this.#all().hostname;
  }

  get port(): string {
    return this.#all().port;
  }

  get hash(): string {
    return this.#all().hash;
  }

  set pathname(value: string) {
    this.#set("pathname", value);
  }

  set search(value: string) {
    this.#set("search", value);
  }

  set protocol(value: string) {
    this.#set("protocol", value);
  }

  set username(value: string) {
    this.#set("username", value);
  }

  set password(value: string) {
    this.#set("password", value);
  }

  set host(value: string) {
    this.#set("host", value);
  }

  set hostname(value: string) {
    this.#set("hostname", value);
  }

  set port(value: string) {
    this.#set("port", value);
  }

  set hash(value: string) {
    this.#set("hash", value);
  }

  /** Live in both directions: changing it changes the URL, and the other way round. */
  get searchParams(): URLSearchParams {
    if (this.#params === undefined) {
      this.#params = new URLSearchParams(this.search);
      linkToUrl(this.#params, (query) => this.#set("search", query, false));
    }
    return this.#params;
  }

  toString(): string {
    return this.href;
  }

  toJSON(): string {
    return this.href;
  }

  get [Symbol.toStringTag](): string {
    return "URL";
  }

  #all(): Parts {
    if (this.#plain !== null) {
      this.#parts = partsOfPlain(this.#plain);
      this.#plain = null;
    }
    return this.#parts!;
  }

  #set(property: keyof Parts, value: string, fromOutside = true): void {
    requireServing("changing a URL");
    const json = web.setUrl(this.href, property, String(value).toWellFormed());
    if (json !== null) this.#replace(parse(json) as Parts, fromOutside);
  }

  #replace(parts: Parts, fromOutside = true): void {
    this.#plain = null;
    this.#parts = parts;
    if (fromOutside && this.#params !== undefined) replaceFromUrl(this.#params, parts.search);
  }
}
