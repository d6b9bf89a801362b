/** Request. One that comes from the host parses nothing until it is asked. */
import { AbortSignal, neverAborted } from "./abort.ts";
import { Body, moveData, setFromAuthor, setFromHost, shareData, type BodyInit } from "./body.ts";
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
const FROM_HOST = Symbol("from the host");

/** The signal of a request; undefined when nothing can abort it. */
export let signalOf: (request: Request) => AbortSignal | undefined;

export class Request extends Body {
  #method = "GET";
  #url = "";
  #headers: Headers | string = "";
  #signal: AbortSignal | undefined;
  #redirect = "follow";

  static {
    signalOf = (request) => request.#signal;
  }

  constructor(input: string | URL | Request | typeof FROM_HOST, init: RequestInit = {}) {
    super();
    if (input === FROM_HOST) return;
    if (input instanceof Request) this.#copy(input, init.body === undefined || init.body === null);
    else this.#url = urlOf(String(input));
    if (init.method !== undefined) this.#method = normalMethod(init.method);
    if (init.headers !== undefined) this.#headers = new Headers(init.headers);
    if (init.signal !== undefined) this.#signal = checkedSignal(init.signal);
    if (init.redirect !== undefined) this.#redirect = checkedRedirect(init.redirect);
    if (init.body !== undefined && init.body !== null) this.#setBody(init.body);
  }

  /** The request that a call of the host carries. */
  static fromHost(method: string, url: string, headers: string, body: string, binary: boolean): Request {
    const request = new Request(FROM_HOST);
    request.#method = method;
    request.#url = url;
    request.#headers = headers;
    setFromHost(request, body, binary);
    return request;
  }

  get method(): string {
    return this.#method;
  }

  get url(): string {
    return this.#url;
  }

  override get headers(): Headers {
    const headers = this.#headers;
    return typeof headers === "string" ? (this.#headers = headersFromBlock(headers)) : headers;
  }

  get signal(): AbortSignal {
    return (this.#signal ??= neverAborted());
  }

  get redirect(): string {
    return this.#redirect;
  }

  clone(): Request {
    const copy = new Request(FROM_HOST);
    shareData(this, copy);
    copy.#copyParts(this);
    return copy;
  }

  get [Symbol.toStringTag](): string {
    return "Request";
  }

  #copy(other: Request, withBody: boolean): void {
    if (withBody) moveData(other, this);
    this.#copyParts(other);
  }

  #copyParts(other: Request): void {
    this.#method = other.#method;
    this.#url = other.#url;
    this.#headers = new Headers(other.headers);
    this.#signal = other.#signal;
    this.#redirect = other.#redirect;
  }

  #setBody(init: BodyInit): void {
    if (this.#method === "GET" || this.#method === "HEAD") throw new TypeError(`a ${this.#method} request has no body`);
    const type = setFromAuthor(this, init);
    if (type !== null && !this.headers.has("content-type")) this.headers.set("content-type", type);
  }
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
