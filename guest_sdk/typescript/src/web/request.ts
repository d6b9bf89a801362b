/** Request. One that comes from the host parses nothing until it is asked. */
import { AbortSignal, neverAborted } from "./abort.ts";
import { At, Body, insideOf, moveData, setFromAuthor, shareData, type BodyInit, type Data } from "./body.ts";
import { Headers, headersFromBlock, type HeadersInit } from "./headers.ts";
import { URL } from "./url.ts";

export interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  signal?: AbortSignal | null;
  redirect?: string;
}

const NORMALIZED = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);
const FORBIDDEN = new Set(["CONNECT", "TRACE", "TRACK"]);
const REDIRECTS = new Set(["follow", "error", "manual"]);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** The first argument of the constructor when the second is the whole inside of the request. */
const MADE = Symbol("made");

type Inside = [
  data: Data, binary: boolean, used: boolean, headers: Headers | string,
  method: string, url: string, signal: AbortSignal | undefined, redirect: string,
];

/** The places after those of `At`. */
const enum In {
  Method = 4,
  Url,
  Signal,
  Redirect,
}

const of = insideOf as (body: Body) => Inside;

/** The signal of a request; undefined when nothing can abort it. */
export function signalOf(request: Request): AbortSignal | undefined {
  return of(request)[In.Signal];
}

export class Request extends Body {
  constructor(input: string | URL | Request, init?: RequestInit);
  constructor(input: string | URL | Request | typeof MADE, init: RequestInit | Inside = {}) {
    super(input === MADE ? (init as Inside) : fromAuthor(input, init as RequestInit));
  }

  /** The request that a call of the host carries. */
  static fromHost(method: string, url: string, headers: string, body: string, binary: boolean): Request {
    return made([body === "" ? null : body, binary, false, headers, method, url, undefined, "follow"]);
  }

  get method(): string {
    return of(this)[In.Method];
  }

  get url(): string {
    return of(this)[In.Url];
  }

  get signal(): AbortSignal {
    return (of(this)[In.Signal] ??= neverAborted());
  }

  get redirect(): string {
    return of(this)[In.Redirect];
  }

  clone(): Request {
    const inside = of(this);
    const copy: Inside = [null, false, false, "", "GET", "", undefined, "follow"];
    shareData(inside, copy);
    copyParts(inside, copy);
    return made(copy);
  }

  get [Symbol.toStringTag](): string {
    return "Request";
  }
}

const made = (inside: Inside): Request =>
  new (Request as unknown as new (...inner: unknown[]) => Request)(MADE, inside);

function fromAuthor(input: string | URL | Request, { method, headers, signal, redirect, body }: RequestInit): Inside {
  const inside: Inside = [null, false, false, "", "GET", "", undefined, "follow"];
  if (input instanceof Request) {
    const other = of(input);
    if (body === undefined || body === null) moveData(other, inside);
    copyParts(other, inside);
  } else {
    inside[In.Url] = urlOf(String(input));
  }
  if (method !== undefined) inside[In.Method] = normalMethod(method);
  if (headers !== undefined) inside[At.Headers] = new Headers(headers);
  if (signal !== undefined) inside[In.Signal] = checkedSignal(signal);
  if (redirect !== undefined) inside[In.Redirect] = checkedRedirect(redirect);
  if (body !== undefined && body !== null) setBody(inside, body);
  return inside;
}

function copyParts(from: Inside, to: Inside): void {
  const headers = from[At.Headers];
  to[At.Headers] = typeof headers === "string" ? headers : new Headers(headers);
  for (let at: number = In.Method; at < to.length; at++) to[at] = from[at];
}

function setBody(inside: Inside, init: BodyInit): void {
  const method = inside[In.Method];
  if (method === "GET" || method === "HEAD") throw new TypeError(`a ${method} request has no body`);
  const type = setFromAuthor(inside, init);
  if (type === null) return;
  const given = inside[At.Headers];
  const headers = typeof given === "string" ? headersFromBlock(given) : given;
  if (!headers.has("content-type")) headers.set("content-type", type);
  inside[At.Headers] = headers;
}

function urlOf(text: string): string {
  const url = new URL(text);
  if (text.includes("@") && (url.username !== "" || url.password !== "")) {
    throw new TypeError("the URL of a request must not have a user name or a password; use the authorization header");
  }
  return url.href;
}

function checkedSignal(signal: unknown): AbortSignal | undefined {
  if (signal === null) return undefined;
  if (!(signal instanceof AbortSignal)) throw new TypeError("signal must be an AbortSignal");
  return signal;
}

function checkedRedirect(redirect: string): string {
  const text = String(redirect);
  if (!REDIRECTS.has(text)) throw new TypeError(`redirect is follow, error or manual, not ${JSON.stringify(text)}`);
  return text;
}

function normalMethod(method: string): string {
  const text = String(method);
  if (!TOKEN.test(text)) throw new TypeError(`${JSON.stringify(text)} is not an HTTP method`);
  const upper = text.toUpperCase();
  if (FORBIDDEN.has(upper)) throw new TypeError(`the method ${upper} is not allowed`);
  return NORMALIZED.has(upper) ? upper : text;
}
