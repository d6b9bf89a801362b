/** The body of a Request or a Response.
 *
 *  A text body stays the string it came as, and a binary one the base64 it came as, until somebody asks for another
 *  form: most bodies cross the guest without a single byte being touched by interpreted code.
 */
import * as web from "tenure:edge/web@0.1.0";
import { encodeUtf8 } from "./encoding.ts";
import { URLSearchParams } from "./url_search_params.ts";

export type BodyInit = string | ArrayBuffer | ArrayBufferView | URLSearchParams;

const { parse } = JSON;

/** What a body holds: text, base64 when it is binary, or bytes nobody else can change; null when there is none. */
export type Data = string | Uint8Array<ArrayBuffer> | null;

export const TEXT_TYPE = "text/plain;charset=UTF-8";

/** The data of `body`, which is used up by this. Raises TypeError when it was used before. */
export let takeData: (body: Body) => Data;
/** Gives `body` its data. */
export let setData: (body: Body, data: Data, binary: boolean) => void;
/** Gives `to` the data of `from`, which stays usable. Raises TypeError when it was used before. */
export let shareData: (from: Body, to: Body) => void;
/** Whether text data of `body` is base64. */
let isBinary: (body: Body) => boolean;

export abstract class Body {
  #data: Data = null;
  #binary = false;
  #used = false;

  static {
    takeData = (body) => {
      if (body.#used) throw new TypeError("the body has been read already");
      const data = body.#data;
      if (data !== null) body.#used = true;
      return data;
    };
    setData = (body, data, binary) => {
      body.#data = data;
      body.#binary = binary;
    };
    shareData = (from, to) => {
      if (from.#used) throw new TypeError("the body has been read already");
      to.#data = from.#data;
      to.#binary = from.#binary;
    };
    isBinary = (body) => body.#binary;
  }

  get bodyUsed(): boolean {
    return this.#used;
  }

  get body(): null {
    if (this.#data === null) return null;
    throw new Error("body streams are not available; read the body with text(), json(), arrayBuffer() or bytes()");
  }

  async text(): Promise<string> {
    return textOf(this);
  }

  async json(): Promise<unknown> {
    return parse(textOf(this));
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return bytesOf(this);
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return bytesOf(this).buffer;
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
  if (data === null) return new Uint8Array(0);
  if (typeof data !== "string") return data.slice();
  return isBinary(body) ? Uint8Array.fromBase64(data) : encodeUtf8(data);
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
  if (init instanceof URLSearchParams) {
    setData(body, init.toString(), false);
    return "application/x-www-form-urlencoded;charset=UTF-8";
  }
  if (init instanceof ArrayBuffer) {
    setData(body, new Uint8Array(init.slice(0)), true);
    return null;
  }
  if (ArrayBuffer.isView(init)) {
    setData(body, new Uint8Array(init.buffer, init.byteOffset, init.byteLength).slice(), true);
    return null;
  }
  setData(body, String(init).toWellFormed(), false);
  return TEXT_TYPE;
}

/** The body as it crosses to the host; it is used up by this. */
export function sendableParts(body: Body): { body: string; binary: boolean } {
  const data = takeData(body);
  if (data === null) return { body: "", binary: false };
  return typeof data === "string" ? { body: data, binary: isBinary(body) } : { body: data.toBase64(), binary: true };
}
