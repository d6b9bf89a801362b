/** TextEncoder and TextDecoder. Short texts are coded here, long ones by the host, whose code is compiled. */
import * as web from "tenure:edge/web@0.1.0";
import { isServing } from "../phase.ts";

/** From how many units on the way to the host costs less than interpreted code. */
const HOST_FROM = 48;

/** UTF-8 of a text; halves of surrogate pairs become U+FFFD. */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  if (text.length >= HOST_FROM && isServing()) return Uint8Array.fromBase64(web.encodeUtf8(text.toWellFormed()));
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code >= 0xd800 && code < 0xe000) bytes.push(0xef, 0xbf, 0xbd);
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return new Uint8Array(bytes);
}

/** Text of UTF-8 bytes; malformed input becomes U+FFFD. */
export function decodeUtf8Lossy(bytes: Uint8Array): string {
  return decodeUtf8(bytes, false)!;
}

/** Text of UTF-8 bytes; null when they are malformed and `fatal`. A byte order mark is kept. */
function decodeUtf8(bytes: Uint8Array, fatal: boolean): string | null {
  if (bytes.length < HOST_FROM || !isServing()) {
    const text = decodeAscii(bytes);
    if (text !== null) return text;
  }
  return isServing() ? web.decodeUtf8(bytes.toBase64(), fatal) : decodeByPercent(bytes, fatal);
}

function decodeAscii(bytes: Uint8Array): string | null {
  let text = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return null;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** While the module is being built there is no host: the engine's own percent-decoding does for well-formed input. */
function decodeByPercent(bytes: Uint8Array, fatal: boolean): string | null {
  try {
    return decodeURIComponent(bytes.toHex().replace(/../g, "%$&"));
  } catch {
    if (fatal) return null;
    throw new Error("malformed UTF-8 cannot be decoded while the module is being built");
  }
}

export class TextEncoder {
  get encoding(): string {
    return "utf-8";
  }

  encode(text = ""): Uint8Array<ArrayBuffer> {
    return encodeUtf8(String(text));
  }

  /** Writes as many whole characters as fit. */
  encodeInto(text: string, target: Uint8Array): { read: number; written: number } {
    let [read, written] = [0, 0];
    for (const character of text) {
      const bytes = encodeUtf8(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

type Encoding = "utf-8" | "utf-16le" | "windows-1252";

const LABELS = new Map<string, Encoding>([
  ...labelled("utf-8", "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8"),
  ...labelled("utf-16le", "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le"),
  ...labelled(
    "windows-1252",
    "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 " +
      "iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
  ),
]);

function labelled(encoding: Encoding, labels: string): [label: string, encoding: Encoding][] {
  return labels.split(" ").map((label) => [label, encoding]);
}

/** White space around a label: that of ASCII only. */
const AROUND = /^[\t\n\f\r ]+|[\t\n\f\r ]+$/g;

/** What windows-1252 shows for the bytes 0x80 to 0x9f. */
const WINDOWS_1252 =
  "\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f" +
  "\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178";

export interface TextDecoderOptions {
  fatal?: boolean;
  ignoreBOM?: boolean;
}

export class TextDecoder {
  readonly encoding: Encoding;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  #rest = new Uint8Array(0);
  #started = false;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false }: TextDecoderOptions = {}) {
    const encoding = LABELS.get(String(label).replace(AROUND, "").toLowerCase());
    if (encoding === undefined) {
      throw new RangeError(`the encoding ${JSON.stringify(label)} is not supported; utf-8, utf-16le and latin1 are`);
    }
    this.encoding = encoding;
    this.fatal = Boolean(fatal);
    this.ignoreBOM = Boolean(ignoreBOM);
  }

  decode(input?: ArrayBuffer | ArrayBufferView, { stream = false }: { stream?: boolean } = {}): string {
    let bytes = joined(this.#rest, viewOf(input));
    const whole = stream ? wholeLength(bytes, this.encoding) : bytes.length;
    this.#rest = stream ? bytes.slice(whole) : new Uint8Array(0);
    bytes = bytes.subarray(0, whole);
    let text = this.#text(bytes);
    if (!this.#started && bytes.length > 0) {
      if (!this.ignoreBOM && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
      this.#started = true;
    }
    if (!stream) this.#started = false;
    return text;
  }

  #text(bytes: Uint8Array): string {
    const text =
      this.encoding === "utf-8" ? decodeUtf8(bytes, this.fatal)
      : this.encoding === "utf-16le" ? decodeUtf16(bytes, this.fatal)
      : decodeWindows1252(bytes);
    if (text === null) throw new TypeError(`the bytes are not valid ${this.encoding}`);
    return text;
  }
}

function viewOf(input: ArrayBuffer | ArrayBufferView | undefined): Uint8Array {
  if (input === undefined) return new Uint8Array(0);
  return ArrayBuffer.isView(input)
    ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
    : new Uint8Array(input);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

/** How many bytes from the start hold whole characters, when more bytes are to come. */
function wholeLength(bytes: Uint8Array, encoding: Encoding): number {
  const length = bytes.length;
  if (encoding === "windows-1252") return length;
  if (encoding === "utf-16le") {
    const even = length - (length % 2);
    return even > 0 && (bytes[even - 1]! & 0xfc) === 0xd8 ? even - 2 : even;
  }
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = bytes[length - back]!;
    if (byte < 0x80) break;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? length - back : length;
  }
  return length;
}

function decodeUtf16(bytes: Uint8Array, fatal: boolean): string | null {
  let text = "";
  for (let i = 0; i + 1 < bytes.length; i += 2) text += String.fromCharCode(bytes[i]! | (bytes[i + 1]! << 8));
  if (bytes.length % 2 === 1) text += "\ufffd";
  return fatal && (bytes.length % 2 === 1 || !text.isWellFormed()) ? null : text.toWellFormed();
}

function decodeWindows1252(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte >= 0x80 && byte < 0xa0 ? WINDOWS_1252[byte - 0x80] : String.fromCharCode(byte);
  return text;
}
