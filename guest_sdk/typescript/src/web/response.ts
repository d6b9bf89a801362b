/** Response. */
import { Body, contentFromHost, contentOf, peekContent, setContent, type BodyInit } from "./body.ts";
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
const { stringify } = JSON;

export class Response extends Body {
  #status = 200;
  #statusText = "";
  // the block of a response that nobody has looked into yet
  #headers: Headers | string = "";
  #type = "default";

  constructor(body?: BodyInit | null, init?: ResponseInit) {
    super();
    if (init !== undefined && init !== null) this.#initialize(init);
    if (body === undefined || body === null) return;
    if (NULL_BODY.has(this.#status)) throw new TypeError(`a response with status ${this.#status} has no body`);
    const { content, type } = contentOf(body);
    setContent(this, content);
    if (type !== null) this.#defaultType(type);
  }

  /** The response that an operation of the host ended with. */
  static fromHost(status: number, headers: string, body: string, binary: boolean): Response {
    const response = new Response();
    response.#status = status;
    response.#headers = headers;
    setContent(response, contentFromHost(body, binary));
    return response;
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = stringify(data);
    if (text === undefined) throw new TypeError("Response.json takes a value that JSON can express");
    const response = new Response(undefined, init);
    if (NULL_BODY.has(response.#status)) throw new TypeError(`a response with status ${response.#status} has no body`);
    setContent(response, { data: text, binary: false });
    response.#defaultType("application/json");
    return response;
  }

  static error(): Response {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
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
    return this.#statusText;
  }

  get headers(): Headers {
    const headers = this.#headers;
    return typeof headers === "string" ? (this.#headers = headersFromBlock(headers)) : headers;
  }

  get type(): string {
    return this.#type;
  }

  get url(): string {
    return "";
  }

  get redirected(): boolean {
    return false;
  }

  clone(): Response {
    const copy = new Response();
    setContent(copy, peekContent(this));
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = new Headers(this.headers);
    copy.#type = this.#type;
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
      this.#statusText = statusText;
    }
    if (headers !== undefined && headers !== null) this.#headers = new Headers(headers);
  }

  #defaultType(type: string): void {
    if (this.#headers === "") this.#headers = `content-type: ${type}\n`;
    else if (!this.headers.has("content-type")) this.headers.set("content-type", type);
  }
}
