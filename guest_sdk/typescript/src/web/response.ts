/** Response. */
import { At, Body, TEXT_TYPE, insideOf, setFromAuthor, shareData, type BodyInit, type Data } from "./body.ts";
import { Headers, type HeadersInit } from "./headers.ts";
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

type Inside = [
  data: Data, binary: boolean, used: boolean, headers: Headers | string,
  status: number, rare: Rare | undefined,
];

/** The places after those of `At`. */
const enum In {
  Status = 4,
  /** What few responses have. */
  Rare,
}

const of = insideOf as (body: Body) => Inside;
/** The first argument of the constructor when the second is the whole inside of the response. */
const MADE = Symbol("made");

export class Response extends Body {
  constructor(body?: BodyInit | null, init?: ResponseInit);
  constructor(body?: BodyInit | null | typeof MADE, init?: ResponseInit | Inside) {
    super(
      body === MADE ? (init as Inside)
      : typeof body === "string" && init === undefined ? [body.toWellFormed(), false, false, TEXT_BLOCK, 200, undefined]
      : fromAuthor(body, init as ResponseInit | undefined),
    );
  }

  /** The response that an operation of the host ended with. */
  static fromHost(status: number, headers: string, body: string, binary: boolean): Response {
    return made([body === "" ? null : body, binary, false, headers, status, undefined]);
  }

  /** The response of another host. */
  static fromFetch(
    status: number, headers: string, body: string, binary: boolean, url: string, redirected: boolean,
  ): Response {
    const rare = { type: "basic", url, redirected };
    return made([body === "" ? null : body, binary, false, headers, status, rare]);
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = stringify(data);
    if (text === undefined) throw new TypeError("Response.json takes a value that JSON can express");
    const inside: Inside = [text, false, false, JSON_BLOCK, 200, undefined];
    if (init === undefined || init === null) return made(inside);
    inside[At.Headers] = "";
    initialize(inside, init);
    requireBodyAllowed(inside);
    defaultType(inside, JSON_TYPE);
    return made(inside);
  }

  static error(): Response {
    return made([null, false, false, "", 0, { type: "error" }]);
  }

  static redirect(url: string | URL, status = 302): Response {
    const location = new URL(String(url)).href;
    if (!REDIRECTS.has(status)) throw new RangeError(`${status} is not a redirect status`);
    return new Response(null, { status, headers: { location } });
  }

  get status(): number {
    return of(this)[In.Status];
  }

  get ok(): boolean {
    const status = of(this)[In.Status];
    return status >= 200 && status < 300;
  }

  get statusText(): string {
    return of(this)[In.Rare]?.statusText ?? "";
  }

  get type(): string {
    return of(this)[In.Rare]?.type ?? "default";
  }

  get url(): string {
    return of(this)[In.Rare]?.url ?? "";
  }

  get redirected(): boolean {
    return of(this)[In.Rare]?.redirected ?? false;
  }

  clone(): Response {
    const inside = of(this);
    const headers = inside[At.Headers];
    const copied = typeof headers === "string" ? headers : new Headers(headers);
    const copy: Inside = [null, false, false, copied, inside[In.Status], inside[In.Rare]];
    shareData(inside, copy);
    return made(copy);
  }

  get [Symbol.toStringTag](): string {
    return "Response";
  }
}

const made = (inside: Inside): Response =>
  new (Response as unknown as new (...inner: unknown[]) => Response)(MADE, inside);

function fromAuthor(body: BodyInit | null | undefined, init: ResponseInit | undefined): Inside {
  const inside: Inside = [null, false, false, "", 200, undefined];
  if (init !== undefined && init !== null) initialize(inside, init);
  if (body === undefined || body === null) return inside;
  requireBodyAllowed(inside);
  const type = setFromAuthor(inside, body);
  if (type !== null) defaultType(inside, type);
  return inside;
}

function initialize(inside: Inside, { status, statusText, headers }: ResponseInit): void {
  if (status !== undefined) {
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`a response's status must be from 200 to 599, not ${String(status)}`);
    }
    inside[In.Status] = status;
  }
  if (statusText !== undefined) {
    if (!STATUS_TEXT.test(statusText)) throw new TypeError("statusText has a character that HTTP does not allow");
    inside[In.Rare] = { statusText };
  }
  if (headers !== undefined && headers !== null) inside[At.Headers] = new Headers(headers);
}

function requireBodyAllowed(inside: Inside): void {
  const status = inside[In.Status];
  if (status !== 200 && NULL_BODY.has(status)) throw new TypeError(`a response with status ${status} has no body`);
}

function defaultType(inside: Inside, type: string): void {
  const headers = inside[At.Headers];
  if (typeof headers !== "string") {
    if (!headers.has("content-type")) headers.set("content-type", type);
  } else if (type === JSON_TYPE) {
    inside[At.Headers] = JSON_BLOCK;
  } else {
    inside[At.Headers] = type === TEXT_TYPE ? TEXT_BLOCK : new Headers({ "content-type": type });
  }
}
