/** Blob and File. The bytes are in the guest's memory; slices share them. */
import { decodeUtf8Lossy, encodeUtf8 } from "./encoding.ts";
import { currentTime } from "./clock.ts";
import { streamOfBytes, type ReadableStream } from "./streams.ts";

export type BlobPart = string | ArrayBuffer | ArrayBufferView | Blob;

export interface BlobPropertyBag {
  type?: string;
  endings?: "transparent" | "native";
}

const TYPE = /^[\x20-\x7e]*$/;

/** The bytes of a blob, not copied: the caller must not change them. */
export let blobBytes: (blob: Blob) => Uint8Array<ArrayBuffer>;
/** A blob over these bytes, not copied. */
export let blobOver: (bytes: Uint8Array<ArrayBuffer>, type: string) => Blob;

export class Blob {
  #bytes: Uint8Array<ArrayBuffer>;
  #type: string;

  static {
    blobBytes = (blob) => blob.#bytes;
    blobOver = (bytes, type) => {
      const blob = new Blob();
      blob.#bytes = bytes;
      blob.#type = normalType(type);
      return blob;
    };
  }

  constructor(parts?: Iterable<BlobPart>, options?: BlobPropertyBag | null) {
    if (parts !== undefined && (typeof parts !== "object" || parts === null || !(Symbol.iterator in parts))) {
      throw new TypeError("a Blob takes an array of parts");
    }
    checkDictionary(options);
    const endings = options?.endings;
    if (endings !== undefined && endings !== "transparent" && endings !== "native") {
      throw new TypeError(`${String(endings)} is no kind of line endings; write transparent or native`);
    }
    this.#bytes = parts === undefined ? new Uint8Array(0) : joinParts(parts, endings === "native");
    this.#type = options?.type === undefined ? "" : normalType(String(options.type));
  }

  get size(): number {
    return this.#bytes.length;
  }

  get type(): string {
    return this.#type;
  }

  slice(start?: number, end?: number, type = ""): Blob {
    const size = this.size;
    const from = position(start, 0, size);
    return blobOver(this.#bytes.subarray(from, Math.max(from, position(end, size, size))), String(type));
  }

  async text(): Promise<string> {
    return decodeUtf8Lossy(this.#bytes);
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#bytes.slice();
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.#bytes.slice().buffer;
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return streamOfBytes(() => this.#bytes.slice());
  }

  get [Symbol.toStringTag](): string {
    return "Blob";
  }
}

export interface FilePropertyBag extends BlobPropertyBag {
  lastModified?: number;
}

export class File extends Blob {
  readonly name: string;
  readonly lastModified: number;

  constructor(parts: Iterable<BlobPart>, name: string, options?: FilePropertyBag | null) {
    if (arguments.length < 2) throw new TypeError("a File takes its parts and its name");
    super(parts, options);
    this.name = String(name).toWellFormed();
    const modified = options?.lastModified;
    this.lastModified = modified === undefined ? currentTime() : Math.trunc(Number(modified)) || 0;
  }

  override get [Symbol.toStringTag](): string {
    return "File";
  }
}

function checkDictionary(options: unknown): void {
  if (options !== undefined && options !== null && typeof options !== "object" && typeof options !== "function") {
    throw new TypeError("the options of a Blob are an object");
  }
}

function normalType(type: string): string {
  return TYPE.test(type) ? type.toLowerCase() : "";
}

/** Where a slice begins or ends: negative counts from the end, and all is held inside the blob. */
function position(value: number | undefined, otherwise: number, size: number): number {
  if (value === undefined) return otherwise;
  const whole = Math.trunc(Number(value)) || 0;
  return whole < 0 ? Math.max(size + whole, 0) : Math.min(whole, size);
}

function joinParts(parts: Iterable<BlobPart>, native: boolean): Uint8Array<ArrayBuffer> {
  return joinBytes(Array.from(parts, (part) => partBytes(part, native)));
}

/** The bytes of a part; those of a buffer are still the author's. */
function partBytes(part: BlobPart, native: boolean): Uint8Array {
  if (part instanceof Blob) return blobBytes(part);
  if (part instanceof ArrayBuffer) return new Uint8Array(part);
  if (ArrayBuffer.isView(part)) return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  const text = String(part);
  return encodeUtf8(native ? text.replace(/\r\n?/g, "\n") : text);
}

/** One copy of all pieces, one after the other. */
export function joinBytes(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
