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
import type { Headers } from "./headers.ts";
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

/** The data of `body`, which is used up by this. Raises TypeError when it was used before. `gathered` comes first. */
export let takeData: (body: Body) => Data;
/** Gives `body` its data. */
export let setData: (body: Body, data: Data | Stream, binary: boolean) => void;
/** Gives `to` the data of `from`, which stays usable. Raises TypeError when it was used before. */
export let shareData: (from: Body, to: Body) => void;
/** Gives `to` the data of `from`, which is used up by this. Raises TypeError when it was used before. */
export let moveData: (from: Body, to: Body) => void;
/** Undefined when the data of `body` is there; else what to await until it is. Rejects when it was used before. */
export let gathered: (body: Body) => Promise<void> | undefined;
/** Whether text data of `body` is base64. */
let isBinary: (body: Body) => boolean;

export abstract class Body {
  #data: Data | Stream = null;
  #binary = false;
  #used = false;

  abstract get headers(): Headers;

  static {
    takeData = (body) => {
      body.#requireUnused();
      let data = body.#data;
      if (data === null) return null;
      if (data instanceof ReadableStream) {
        const there = shown.get(data)!;
        void data.cancel();
        data = there.data;
        body.#binary = there.binary;
      }
      body.#used = true;
      return data;
    };
    setData = (body, data, binary) => {
      body.#data = data;
      body.#binary = binary;
    };
    shareData = (from, to) => {
      from.#requireUnused();
      const data = from.#data;
      const there = data instanceof ReadableStream ? shown.get(data) : undefined;
      if (there !== undefined) {
        to.#data = there.data;
        to.#binary = there.binary;
      } else if (data instanceof ReadableStream) {
        [from.#data, to.#data] = data.tee();
      } else {
        to.#data = data;
        to.#binary = from.#binary;
      }
    };
    moveData = (from, to) => {
      from.#requireUnused();
      to.#data = from.#data;
      to.#binary = from.#binary;
      from.#used = from.#data !== null;
    };
    gathered = (body) => {
      const data = body.#data;
      return data instanceof ReadableStream && !shown.has(data) ? body.#gather(data) : undefined;
    };
    isBinary = (body) => body.#binary;
  }

  get bodyUsed(): boolean {
    return this.#used || (this.#data instanceof ReadableStream && isDisturbed(this.#data));
  }

  get body(): Stream | null {
    const data = this.#data;
    if (data === null || data instanceof ReadableStream) return data;
    const binary = this.#binary;
    const stream = streamOfBytes(() => bytesOfData(data, binary));
    if (this.#used) {
      void stream.cancel();
      return stream;
    }
    shown.set(stream, { data, binary });
    return (this.#data = stream);
  }

  async text(): Promise<string> {
    const waiting = gathered(this);
    if (waiting !== undefined) await waiting;
    return textOf(this);
  }

  async json(): Promise<unknown> {
    const waiting = gathered(this);
    if (waiting !== undefined) await waiting;
    return parse(textOf(this));
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

  #requireUnused(): void {
    const data = this.#data;
    if (this.#used || (data instanceof ReadableStream && (data.locked || isDisturbed(data)))) {
      throw new TypeError("the body has been read already");
    }
  }

  async #gather(stream: Stream): Promise<void> {
    this.#requireUnused();
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
    this.#data = joinBytes(chunks);
    this.#binary = true;
  }
}

function textOf(body: Body): string {
  const data = takeData(body);
  if (data === null) return "";
  const text =
    typeof data !== "string" ? web.decodeUtf8(data.toBase64(), false)!
    : isBinary(body) ? web.decodeUtf8(data, false)!
    : data;
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function bytesOf(body: Body): Uint8Array<ArrayBuffer> {
  const data = takeData(body);
  return data === null ? new Uint8Array(0) : bytesOfData(data, isBinary(body));
}

/** Bytes that nobody else has. */
function bytesOfData(data: string | Uint8Array<ArrayBuffer>, binary: boolean): Uint8Array<ArrayBuffer> {
  if (typeof data !== "string") return data.slice();
  return binary ? Uint8Array.fromBase64(data) : encodeUtf8(data);
}

/** Gives `body` what came from the host. */
export function setFromHost(body: Body, text: string, binary: boolean): void {
  if (text !== "") setData(body, text, binary);
}

/** Gives `body` what an author gave, and returns the content type that it implies. */
export function setFromAuthor(body: Body, init: unknown): string | null {
  if (typeof init === "string") {
    setData(body, init.toWellFormed(), false);
    return TEXT_TYPE;
  }
  return typeof init === "object" && init !== null ? setFromObject(body, init) : setFromText(body, init);
}

function setFromObject(body: Body, init: object): string | null {
  if (init instanceof URLSearchParams) {
    setData(body, init.toString(), false);
    return "application/x-www-form-urlencoded;charset=UTF-8";
  }
  if (init instanceof ArrayBuffer) {
    setData(body, new Uint8Array(init.slice(0)), true);
    return null;
  }
  if (ArrayBuffer.isView(init)) {
    setData(body, new Uint8Array(init.buffer as ArrayBuffer, init.byteOffset, init.byteLength).slice(), true);
    return null;
  }
  if (init instanceof ReadableStream) {
    if (init.locked || isDisturbed(init)) throw new TypeError("the stream has been read already, or has a reader");
    setData(body, init, true);
    return null;
  }
  if (init instanceof Blob) {
    setData(body, blobBytes(init), true);
    return init.type === "" ? null : init.type;
  }
  if (init instanceof FormData) {
    const { data, type } = encodeMultipart(init);
    setData(body, data, typeof data !== "string");
    return type;
  }
  return setFromText(body, init);
}

function setFromText(body: Body, init: unknown): string {
  setData(body, String(init).toWellFormed(), false);
  return TEXT_TYPE;
}

/** The body as it crosses to the host; it is used up by this. `gathered` comes first. */
export function sendableParts(body: Body): { body: string; binary: boolean } {
  const data = takeData(body);
  if (data === null) return { body: "", binary: false };
  return typeof data === "string" ? { body: data, binary: isBinary(body) } : { body: data.toBase64(), binary: true };
}
