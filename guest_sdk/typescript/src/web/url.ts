/** URL. The URLs of everyday requests are split by regular expressions; the rest is parsed by the host.
 *
 *  The expressions accept only what the WHATWG parser would leave as it is: http or https, a lower-case name, a port
 *  that is not the default one, and characters that need no percent-encoding. What is in doubt goes to the host, which
 *  has a complete parser. A text with the origin of the last URL is one for sure, so it waits until somebody
 *  asks for a part.
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
  /** As it begins a URL with a path: with the slash. */
  readonly start: string;
  readonly text: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port: string;
}

/** A URL that stays as it is; query and fragment with their marks, which may be all there is of them. */
type Plain = readonly [origin: Origin, path: string, query: string, fragment: string];

/** What a URL knows: a list, because the engine makes one for the price of two properties. */
type Inside = [
  text: string, plain: Plain | Origin | null, parts: Parts | undefined, params: URLSearchParams | undefined,
];

const enum In {
  Text,
  /** The origin alone: nobody has looked at the rest yet. Null: it takes the host to tell the parts. */
  Plain,
  Parts,
  Params,
}

const ORIGIN = /^(https?):\/\/((?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*)(?::([1-9][0-9]{0,4}))?(?=[/?#]|$)/;
const REST =
  /^(\/[\w\-.~!$&'()*+,;=:@%\/]*)?(\?[\w\-.~!$&()*+,;=:@%\/?[\]]*)?(#[\w\-.~!$&'()*+,;=:@%\/?]*)?$/;
/** What the path of a simple URL has not; one without these has no query and no fragment either. */
const NOT_SIMPLE = /[^\w\-~!$&'()*+,;=:@\/]/;
const PERCENT_DOT = /%2e/i;
const { parse } = JSON;
const isArray = Array.isArray;

// the requests of an instance all come to one origin, so the last one is nearly always the next one
let lastOrigin: Origin = originOf("http://localhost", "http:", "localhost", "");
// and many of them ask for the same URL
let lastText = "";
let lastPlain: Plain | null = null;

function originOf(text: string, protocol: string, hostname: string, port: string): Origin {
  return { start: `${text}/`, text, protocol, hostname, port };
}

function splitPlain(input: string): Plain | null {
  if (input === lastText) return lastPlain;
  const origin = hasLastOrigin(input) ? lastOrigin : plainOrigin(input);
  return origin === null ? null : splitAfter(origin, input);
}

function splitAfter(origin: Origin, input: string): Plain | null {
  const text = input.slice(origin.text.length);
  const simple = !NOT_SIMPLE.test(text);
  const plain: Plain | null = simple ? [origin, text === "" ? "/" : text, "", ""] : splitRest(origin, text);
  if (plain === null) return null;
  lastText = input;
  return (lastPlain = plain);
}

function splitRest(origin: Origin, text: string): Plain | null {
  const found = REST.exec(text);
  if (found === null) return null;
  const [, path = "/", query = "", fragment = ""] = found;
  return path.includes("/.") || (path.includes("%") && PERCENT_DOT.test(path)) ? null : [origin, path, query, fragment];
}

/** Whether `input` has the origin that was seen last: whatever follows it, such a text is a URL. */
function hasLastOrigin(input: string): boolean {
  const { start } = lastOrigin;
  return input.slice(0, start.length) === start;
}

function plainOrigin(input: string): Origin | null {
  const found = ORIGIN.exec(input);
  if (found === null) return null;
  const [text, scheme, hostname, port = ""] = found;
  if (port === (scheme === "http" ? "80" : "443") || +port > 65535 || hostname!.includes("xn--")) return null;
  return (lastOrigin = originOf(text, `${scheme}:`, hostname!, port));
}

function parseOnHost(input: string, base: string | null): Parts | null {
  requireServing("parsing this URL");
  const json = web.parseUrl(input.toWellFormed(), base);
  return json === null ? null : (parse(json) as Parts);
}

function partsOfPlain([{ text, protocol, hostname, port }, pathname, query, fragment]: Plain): Parts {
  return {
    href: text + pathname + query + fragment, origin: text, protocol, username: "", password: "",
    host: port === "" ? hostname : `${hostname}:${port}`, hostname, port, pathname,
    search: query === "?" ? "" : query, hash: fragment === "#" ? "" : fragment,
  };
}

export class URL {
  readonly #inside: Inside;

  constructor(input: string | URL, base?: string | URL) {
    const text = typeof input === "string" ? input : String(input);
    const waits = base === undefined && hasLastOrigin(text);
    const inside: Inside = [text, waits ? lastOrigin : null, undefined, undefined];
    this.#inside = inside;
    if (waits) return;
    if ((inside[In.Plain] = splitPlain(text)) !== null) {
      if (base !== undefined) new URL(base); // a base that is no URL is an error even when it is not needed
      return;
    }
    const parts = parseOnHost(text, base === undefined ? null : new URL(base).href);
    if (parts === null) throw new TypeError(`Invalid URL: ${text}`);
    inside[In.Parts] = parts;
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
    const plain = lookAt(this.#inside);
    return plain !== null ? plain[1] : this.#all().pathname;
  }

  get search(): string {
    const plain = lookAt(this.#inside);
    if (plain === null) return this.#all().search;
    return plain[2] === "?" ? "" : plain[2];
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
    let params = this.#inside[In.Params];
    if (params === undefined) {
      params = this.#inside[In.Params] = new URLSearchParams(this.search);
      linkToUrl(params, (query) => this.#set("search", query, false));
    }
    return params;
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
    const inside = this.#inside;
    if (inside[In.Parts] !== undefined) return inside[In.Parts];
    const plain = lookAt(inside);
    if (plain !== null) this.#replace(partsOfPlain(plain), false);
    return inside[In.Parts]!;
  }

  #set(property: keyof Parts, value: string, fromOutside = true): void {
    requireServing("changing a URL");
    const json = web.setUrl(this.href, property, String(value).toWellFormed());
    if (json !== null) this.#replace(parse(json) as Parts, fromOutside);
  }

  #replace(parts: Parts, fromOutside = true): void {
    const inside = this.#inside;
    inside[In.Plain] = null;
    inside[In.Parts] = parts;
    const params = inside[In.Params];
    if (fromOutside && params !== undefined) replaceFromUrl(params, parts.search);
  }
}

/** The URL's plain form, or null when it has none; then its parts are there. */
function lookAt(inside: Inside): Plain | null {
  const known = inside[In.Plain];
  if (known === null || isArray(known)) return known as Plain | null;
  const text = inside[In.Text];
  const plain = text === lastText ? lastPlain : splitAfter(known as Origin, text);
  if (plain === null) inside[In.Parts] = parseOnHost(text, null)!;
  return (inside[In.Plain] = plain);
}
