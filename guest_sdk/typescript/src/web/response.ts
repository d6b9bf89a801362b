/** Response. */
import { Body, TEXT_TYPE, setData, setFromAuthor, setFromHost, shareData, type BodyInit } from "./body.ts";
import { Headers, headersFromBlock, type HeadersInit } from "./headers.ts";
import { URL } from "./url.ts";

export interface ResponseInit {
  status?: number;
  statusText?: string;
  headers?: HeadersInit;
}

const NULL_BODY = new Set([101, 204, 205, 304]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const STATUS_TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;
const JSON_TYPE = "application/json";
// the whole header block of most responses
const JSON_BLOCK = `content-type: ${JSON_TYPE}\n`;
const TEXT_BLOCK = `content-type: ${TEXT_TYPE}\n`;
const { stringify } = JSON;

interface Rare {
  readonly type?: string;
  readonly statusText?: string;
  readonly url?: string;
  readonly redirected?: boolean;
}

export class Response extends Body {
  #status = 200;
  // the block of a response that nobody has looked into yet
  #headers: Headers | string = "";
  // what few responses have
  #rare: Rare | undefined;

  constructor(body?: BodyInit | null, init?: ResponseInit) {
    super();
    if (init !== undefined && init !== null) this.#initialize(init);
    if (body === undefined || body === null) return;
    if (NULL_BODY.has(this.#status)) throw new TypeError(`a response with status ${this.#status} has no body`);
    const type = setFromAuthor(this, body);
    if (type === TEXT_TYPE && this.#headers === "") this.#headers = TEXT_BLOCK;
    else if (type !== null) this.#defaultType(type);
  }

  /** The response that an operation of the host ended with. */
  static fromHost(status: number, headers: string, body: string, binary: boolean): Response {
    const response = new Response();
    response.#status = status;
    response.#headers = headers;
    setFromHost(response, body, binary);
    return response;
  }

  /** The response of another host. */
  static fromFetch(
    status: number, headers: string, body: string, binary: boolean, url: string, redirected: boolean,
  ): Response {
    const response = Response.fromHost(status, headers, body, binary);
    response.#rare = { type: "basic", url, redirected };
    return response;
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = stringify(data);
    if (text === undefined) throw new TypeError("Response.json takes a value that JSON can express");
    const response = new Response(undefined, init);
    if (NULL_BODY.has(response.#status)) throw new TypeError(`a response with status ${response.#status} has no body`);
    setData(response, text, false);
    if (response.#headers === "") response.#headers = JSON_BLOCK;
    else response.#defaultType(JSON_TYPE);
    return response;
  }

  static error(): Response {
    const response = new Response();
    response.#status = 0;
    response.#rare = { type: "error" };
    return response;
  }

  static redirect(url: string | URL, status = 302): Response {
    const location = new URL(String(url)).href;
    if (!REDIRECTS.has(status)) throw new RangeError(`${status} is not a redirect status`);
    return new Response(null, { status, headers: { location } });
  }

  get status(): number {
    return this.#status;
  }

  get ok(): boolean {
    return this.#status >= 200 && this.#status < 300;
  }

  get statusText(): string {
    return this.#rare?.statusText ?? "";
  }

  override get headers(): Headers {
    const headers = this.#headers;
    return typeof headers === "string" ? (this.#headers = headersFromBlock(headers)) : headers;
  }

  get type(): string {
    return this.#rare?.type ?? "default";
  }

  get url(): string {
    return this.#rare?.url ?? "";
  }

  get redirected(): boolean {
    return this.#rare?.redirected ?? false;
  }

  clone(): Response {
    const copy = new Response();
    shareData(this, copy);
    copy.#status = this.#status;
    copy.#headers = new Headers(this.headers);
    copy.#rare = this.#rare;
    return copy;
  }

  get [Symbol.toStringTag](): string {
    return "Response";
  }

  #initialize({ status, statusText, headers }: ResponseInit): void {
    if (status !== undefined) {
      if (!Number.isInteger(status) || status < 200 || status > 599) {
        throw new RangeError(`a response's status must be from 200 to 599, not ${String(status)}`);
      }
      this.#status = status;
    }
    if (statusText !== undefined) {
      if (!STATUS_TEXT.test(statusText)) throw new TypeError("statusText has a character that HTTP does not allow");
      this.#rare = { statusText };
    }
    if (headers !== undefined && headers !== null) this.#headers = new Headers(headers);
  }

  #defaultType(type: string): void {
    if (!this.headers.has("content-type")) this.headers.set("content-type", type);
  }
}
