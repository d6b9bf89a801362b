/** Forms as bytes: multipart/form-data (RFC 7578, as HTML writes it) and application/x-www-form-urlencoded.
 *
 *  A multipart body is taken apart as a text of one unit for each byte, because the engine searches texts in compiled
 *  code; offsets in that text are offsets in the bytes.
 */
import { bytes as randomBytes } from "tenure:edge/random@0.1.0";
import { requireServing } from "../phase.ts";
import { File, blobBytes, joinBytes } from "./blob.ts";
import { decodeUtf8Lossy, encodeUtf8 } from "./encoding.ts";
import { FormData } from "./form_data.ts";
import { URLSearchParams } from "./url_search_params.ts";

const FORM_TYPE = "application/x-www-form-urlencoded";
const MULTIPART_TYPE = "multipart/form-data";
const BOUNDARY = /;\s*boundary=(?:"([^"]*)"|([^;\s]*))/i;
const PARTS_MAX = 10_000;

/** The body of a form and its content type. Text when no file is in it. */
export function encodeMultipart(form: FormData): { data: string | Uint8Array<ArrayBuffer>; type: string } {
  requireServing("sending a form");
  const boundary = `----tenure-${Uint8Array.fromBase64(randomBytes(16)).toHex()}`;
  const pieces: (string | Uint8Array)[] = [];
  let files = false;
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(lineEnds(name))}"`;
    if (typeof value === "string") {
      pieces.push(`${head}\r\n\r\n${lineEnds(value)}\r\n`);
    } else {
      files = true;
      const type = value.type === "" ? "application/octet-stream" : value.type;
      pieces.push(`${head}; filename="${quoted(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`);
      pieces.push(blobBytes(value), "\r\n");
    }
  }
  pieces.push(`--${boundary}--\r\n`);
  const data = files
    ? joinBytes(pieces.map((piece) => (typeof piece === "string" ? encodeUtf8(piece) : piece)))
    : pieces.join("");
  return { data, type: `${MULTIPART_TYPE}; boundary=${boundary}` };
}

function lineEnds(text: string): string {
  return text.replace(/\r\n|\r|\n/g, "\r\n");
}

/** Names in a part's head: nothing in them can end the line or the quotes. */
function quoted(text: string): string {
  return text.replace(/[\r\n"]/g, (found) => (found === '"' ? "%22" : found === "\r" ? "%0D" : "%0A"));
}

/** The form in `bytes`, which nobody else changes. Raises TypeError when it is none. */
export function parseForm(bytes: Uint8Array<ArrayBuffer>, contentType: string): FormData {
  const type = contentType.split(";", 1)[0]!.trim().toLowerCase();
  if (type === FORM_TYPE) {
    const form = new FormData();
    for (const [name, value] of new URLSearchParams(`?${decodeUtf8Lossy(bytes)}`)) form.append(name, value);
    return form;
  }
  if (type !== MULTIPART_TYPE) {
    throw new TypeError(`the body is no form: its content type is ${JSON.stringify(contentType)}`);
  }
  const found = BOUNDARY.exec(contentType);
  const boundary = found?.[1] ?? found?.[2] ?? "";
  if (boundary === "" || boundary.length > 200) throw new TypeError("the content type of the form has no boundary");
  return parseMultipart(bytes, boundary);
}

function malformed(): never {
  throw new TypeError("the body is not well-formed multipart/form-data");
}

function parseMultipart(bytes: Uint8Array<ArrayBuffer>, boundary: string): FormData {
  const text = atob(bytes.toBase64());
  const form = new FormData();
  const delimiter = `\r\n--${boundary}`;
  // a body may begin with the delimiter's second line, or with a preamble that ends before it
  let at = text.startsWith(`--${boundary}`) ? delimiter.length - 2 : afterPreamble(text, delimiter);
  for (let count = 0; ; count++) {
    if (text.startsWith("--", at)) return form;
    at = afterPadding(text, at);
    if (count === PARTS_MAX) throw new TypeError(`a form has at most ${PARTS_MAX} parts`);
    const bodyAt = text.startsWith("\r\n", at) ? at + 2 : text.indexOf("\r\n\r\n", at) + 4;
    const end = bodyAt < 4 ? -1 : text.indexOf(delimiter, bodyAt - 2);
    if (end < 0) malformed();
    const head = decodeUtf8Lossy(bytes.subarray(at, bodyAt));
    appendPart(form, head, bytes.subarray(bodyAt, Math.max(bodyAt, end)));
    at = end + delimiter.length;
  }
}

function afterPreamble(text: string, delimiter: string): number {
  const at = text.indexOf(delimiter);
  return at < 0 ? malformed() : at + delimiter.length;
}

/** Blanks may follow a boundary; then its line ends. */
function afterPadding(text: string, at: number): number {
  while (text[at] === " " || text[at] === "\t") at++;
  return text.startsWith("\r\n", at) ? at + 2 : malformed();
}

const DISPOSITION = /^content-disposition:[ \t]*form-data[ \t]*;(.*)$/im;
const CONTENT_TYPE = /^content-type:[ \t]*(.*?)[ \t]*\r?$/im;

function appendPart(form: FormData, head: string, content: Uint8Array<ArrayBuffer>): void {
  const disposition = DISPOSITION.exec(head)?.[1] ?? malformed();
  const name = parameter(disposition, "name") ?? malformed();
  const filename = parameter(disposition, "filename");
  if (filename === undefined) {
    form.append(name, withoutMark(decodeUtf8Lossy(content)));
  } else {
    const type = CONTENT_TYPE.exec(head)?.[1] ?? "text/plain";
    form.append(name, new File([content], filename, { type }));
  }
}

function withoutMark(text: string): string {
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function parameter(disposition: string, name: string): string | undefined {
  const found = new RegExp(`(?:^|;)[ \\t]*${name}=(?:"([^"]*)"|([^;"\\s]+))`, "i").exec(disposition);
  const value = found?.[1] ?? found?.[2];
  return value?.replace(/%(?:0D|0A|22)/gi, (code) => String.fromCharCode(parseInt(code.slice(1), 16)));
}
