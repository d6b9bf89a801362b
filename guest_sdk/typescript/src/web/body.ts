/** The body of a Request or a Response.
 *
 *  A text body stays the string it came as, and a binary one the base64 it came as, until somebody asks for another
 *  form: most bodies cross the guest without a single byte being touched by interpreted code. That holds for `body`,
 *  too: the stream over a body that is there already is only a view, so `new Response(other.body)` passes it on as it
 *  is. A stream of the author's is read to its end before anything else is done with it.
 */
import * as web from "tenure:edge/web@0.1.0";
import { Blob, blobBytes, blobOver, joinBytes } from "./blob.ts";
import { encodeUtf8 } from "./encoding.ts";
import { FormData } from "./form_data.ts";
import { headerBlock, headersFromBlock, type Headers } from "./headers.ts";
import { encodeMultipart, parseForm } from "./multipart.ts";
import { ReadableStream, isDisturbed, streamOfBytes } from "./streams.ts";
import { URLSearchParams } from "./url_search_params.ts";

export type BodyInit =
  | string | ArrayBuffer | ArrayBufferView | URLSearchParams | Blob | FormData | ReadableStream<Uint8Array>;

const { parse } = JSON;

/** A body that is there: text, base64 when it is binary, or bytes nobody else can change; null when there is none. */
export type Data = string | Uint8Array<ArrayBuffer> | null;
type Stream = ReadableStream<Uint8Array<ArrayBuffer>>;

export const TEXT_TYPE = "text/plain;charset=UTF-8";

/** What a stream over a body shows. */
const shown = new WeakMap<Stream, { readonly data: Data; readonly binary: boolean }>();

/** Everything that a Request or a Response knows: a list, because the engine makes one for the price of two
 *  properties. The places after `Headers` belong to the subclass.
 */
export type Inside = [
  data: Data | Stream, binary: boolean, used: boolean, headers: Headers | string, ...more: unknown[],
];

export const enum At {
  Data,
  /** Whether text data is base64. */
  Binary,
  Used,
  /** A header block until somebody looks into it. */
  Headers,
}

export let insideOf: (body: Body) => Inside;

export abstract class Body {
  readonly #inside: Inside;

  static {
    insideOf = (body) => body.#inside;
  }

  constructor(inside: Inside) {
    this.#inside = inside;
  }

  get headers(): Headers {
    const headers = this.#inside[At.Headers];
    return typeof headers === "string" ? (this.#inside[At.Headers] = headersFromBlock(headers)) : headers;
  }

  get bodyUsed(): boolean {
    const data = this.#inside[At.Data];
    return this.#inside[At.Used] || (data instanceof ReadableStream && isDisturbed(data));
  }

  get body(): Stream | null {
    const [data, binary, used] = this.#inside;
    if (data === null || data instanceof ReadableStream) return data;
    const stream = streamOfBytes(() => bytesOfData(data, binary));
    if (used) {
      void stream.cancel();
      return stream;
    }
    shown.set(stream, { data, binary });
    return (this.#inside[At.Data] = stream);
  }

  async text(): Promise<string> {
    const inside = this.#inside;
    if (typeof inside[At.Data] !== "string") await gathered(this);
    return textOf(inside);
  }

  async json(): Promise<unknown> {
    const inside = this.#inside;
    if (typeof inside[At.Data] !== "string") await gathered(this);
    return parse(textOf(inside));
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    await gathered(this);
    return bytesOf(this);
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    await gathered(this);
    return bytesOf(this).buffer;
  }

  async blob(): Promise<Blob> {
    await gathered(this);
    return blobOver(bytesOf(this), this.headers.get("content-type") ?? "");
  }

  /** The form of a multipart/form-data or application/x-www-form-urlencoded body. */
  async formData(): Promise<FormData> {
    await gathered(this);
    return parseForm(bytesOf(this), this.headers.get("content-type") ?? "");
  }
}

function requireUnused(inside: Inside): void {
  const data = inside[At.Data];
  if (inside[At.Used] || (data instanceof ReadableStream && (data.locked || isDisturbed(data)))) {
    throw new TypeError("the body has been read already");
  }
}

/** The data of `inside`, which is used up by this. Raises TypeError when it was used before. `gathered` comes first. */
function takeData(inside: Inside): Data {
  if (inside[At.Used] || typeof inside[At.Data] !== "string") requireUnused(inside);
  let data = inside[At.Data];
  if (data === null) return null;
  if (data instanceof ReadableStream) {
    const there = shown.get(data)!;
    void data.cancel();
    data = there.data;
    inside[At.Binary] = there.binary;
  }
  inside[At.Used] = true;
  return data;
}

/** Gives `to` the data of `from`, which stays usable. Raises TypeError when it was used before. */
export function shareData(from: Inside, to: Inside): void {
  requireUnused(from);
  const data = from[At.Data];
  const there = data instanceof ReadableStream ? shown.get(data) : undefined;
  if (there !== undefined) {
    setData(to, there.data, there.binary);
  } else if (data instanceof ReadableStream) {
    [from[At.Data], to[At.Data]] = data.tee();
  } else {
    setData(to, data, from[At.Binary]);
  }
}

/** Gives `to` the data of `from`, which is used up by this. Raises TypeError when it was used before. */
export function moveData(from: Inside, to: Inside): void {
  requireUnused(from);
  setData(to, from[At.Data], from[At.Binary]);
  from[At.Used] = from[At.Data] !== null;
}

function setData(inside: Inside, data: Data | Stream, binary: boolean): void {
  inside[At.Data] = data;
  inside[At.Binary] = binary;
}

/** Undefined when the data of `body` is there; else what to await until it is. Rejects when it was used before. */
export function gathered(body: Body): Promise<void> | undefined {
  const inside = insideOf(body);
  const data = inside[At.Data];
  if (typeof data === "string") return undefined;
  return data instanceof ReadableStream && !shown.has(data) ? gather(inside, data) : undefined;
}

async function gather(inside: Inside, stream: Stream): Promise<void> {
  requireUnused(inside);
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (!(value instanceof Uint8Array)) {
      const error = new TypeError("the stream of a body gives Uint8Arrays only");
      await reader.cancel(error);
      throw error;
    }
    chunks.push(value.slice());
  }
  setData(inside, joinBytes(chunks), true);
}

function textOf(inside: Inside): string {
  const data = takeData(inside);
  if (data === null) return "";
  const text =
    typeof data !== "string" ? web.decodeUtf8(data.toBase64(), false)!
    : inside[At.Binary] ? web.decodeUtf8(data, false)!
    : data;
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function bytesOf(body: Body): Uint8Array<ArrayBuffer> {
  const inside = insideOf(body);
  const data = takeData(inside);
  return data === null ? new Uint8Array(0) : bytesOfData(data, inside[At.Binary]);
}

/** Bytes that nobody else has. */
function bytesOfData(data: string | Uint8Array<ArrayBuffer>, binary: boolean): Uint8Array<ArrayBuffer> {
  if (typeof data !== "string") return data.slice();
  return binary ? Uint8Array.fromBase64(data) : encodeUtf8(data);
}

/** Gives `inside` what an author gave, and returns the content type that it implies. */
export function setFromAuthor(inside: Inside, init: unknown): string | null {
  if (typeof init === "string") {
    setData(inside, init.toWellFormed(), false);
    return TEXT_TYPE;
  }
  return typeof init === "object" && init !== null ? setFromObject(inside, init) : setFromText(inside, init);
}

function setFromObject(inside: Inside, init: object): string | null {
  if (init instanceof URLSearchParams) {
    setData(inside, init.toString(), false);
    return "application/x-www-form-urlencoded;charset=UTF-8";
  }
  if (init instanceof ArrayBuffer) {
    setData(inside, new Uint8Array(init.slice(0)), true);
    return null;
  }
  if (ArrayBuffer.isView(init)) {
    setData(inside, new Uint8Array(init.buffer as ArrayBuffer, init.byteOffset, init.byteLength).slice(), true);
    return null;
  }
  if (init instanceof ReadableStream) {
    if (init.locked || isDisturbed(init)) throw new TypeError("the stream has been read already, or has a reader");
    setData(inside, init, true);
    return null;
  }
  if (init instanceof Blob) {
    setData(inside, blobBytes(init), true);
    return init.type === "" ? null : init.type;
  }
  if (init instanceof FormData) {
    const { data, type } = encodeMultipart(init);
    setData(inside, data, typeof data !== "string");
    return type;
  }
  return setFromText(inside, init);
}

function setFromText(inside: Inside, init: unknown): string {
  setData(inside, String(init).toWellFormed(), false);
  return TEXT_TYPE;
}

/** The body as it crosses to the host, used up by this; then `isBinary` says what it is. `gathered` comes first. */
export function takeWire(body: Body): string {
  const inside = insideOf(body);
  const data = takeData(inside);
  if (data === null) return "";
  if (typeof data === "string") return data;
  inside[At.Binary] = true;
  return data.toBase64();
}

/** Whether what `takeWire` gave is base64. */
export function isBinary(body: Body): boolean {
  return insideOf(body)[At.Binary];
}

/** The headers as they cross to the host. */
export function wireHeaders(body: Body): string {
  const headers = insideOf(body)[At.Headers];
  return typeof headers === "string" ? headers : headerBlock(headers);
}
