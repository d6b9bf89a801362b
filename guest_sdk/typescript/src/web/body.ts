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

/** What a body holds: text, base64 when `binary`, or bytes nobody else can change; null when there is none. */
interface Content {
  readonly data: string | Uint8Array<ArrayBuffer> | null;
  readonly binary: boolean;
}

const NOTHING: Content = { data: null, binary: false };

/** The content of `body`, which is used up by this. Raises TypeError when it was used before. */
export let takeContent: (body: Body) => Content;
/** The content of `body`, which stays usable. Raises TypeError when it was used before. */
export let peekContent: (body: Body) => Content;
export let setContent: (body: Body, content: Content) => void;

export abstract class Body {
  #content: Content = NOTHING;
  #used = false;

  static {
    peekContent = (body) => {
      if (body.#used) throw new TypeError("the body has been read already");
      return body.#content;
    };
    takeContent = (body) => {
      const content = peekContent(body);
      if (content.data !== null) body.#used = true;
      return content;
    };
    setContent = (body, content) => {
      body.#content = content;
    };
  }

  get bodyUsed(): boolean {
    return this.#used;
  }

  get body(): null {
    if (this.#content.data === null) return null;
    throw new Error("body streams are not available; read the body with text(), json(), arrayBuffer() or bytes()");
  }

  async text(): Promise<string> {
    return textOf(takeContent(this));
  }

  async json(): Promise<unknown> {
    return parse(textOf(takeContent(this)));
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return bytesOf(takeContent(this));
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return bytesOf(takeContent(this)).buffer;
  }
}

function textOf({ data, binary }: Content): string {
  if (data === null) return "";
  const text =
    typeof data !== "string" ? web.decodeUtf8(data.toBase64(), false)! : binary ? web.decodeUtf8(data, false)! : data;
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function bytesOf({ data, binary }: Content): Uint8Array<ArrayBuffer> {
  if (data === null) return new Uint8Array(0);
  if (typeof data !== "string") return data.slice();
  return binary ? Uint8Array.fromBase64(data) : encodeUtf8(data);
}

/** A content that came from the host. */
export function contentFromHost(body: string, binary: boolean): Content {
  return body === "" ? NOTHING : { data: body, binary };
}

/** The content of what an author gave as a body, and the content type that it implies. */
export function contentOf(init: unknown): { content: Content; type: string | null } {
  if (typeof init === "string") {
    return { content: { data: init.toWellFormed(), binary: false }, type: "text/plain;charset=UTF-8" };
  }
  if (init === undefined || init === null) return { content: NOTHING, type: null };
  if (init instanceof URLSearchParams) {
    const type = "application/x-www-form-urlencoded;charset=UTF-8";
    return { content: { data: init.toString(), binary: false }, type };
  }
  if (init instanceof ArrayBuffer) return { content: { data: new Uint8Array(init.slice(0)), binary: true }, type: null };
  if (ArrayBuffer.isView(init)) {
    const bytes = new Uint8Array(init.buffer, init.byteOffset, init.byteLength).slice();
    return { content: { data: bytes, binary: true }, type: null };
  }
  return { content: { data: String(init).toWellFormed(), binary: false }, type: "text/plain;charset=UTF-8" };
}

/** The body as it crosses to the host; it is used up by this. */
export function sendableParts(body: Body): { body: string; binary: boolean } {
  const { data, binary } = takeContent(body);
  if (data === null) return { body: "", binary: false };
  return typeof data === "string" ? { body: data, binary } : { body: data.toBase64(), binary: true };
}
