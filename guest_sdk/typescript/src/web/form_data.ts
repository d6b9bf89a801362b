/** FormData: the entries of a form, texts and files, in their order. How they travel is in multipart.ts. */
import { Blob, File, blobBytes } from "./blob.ts";

export type FormDataEntryValue = string | File;
type Entry = [name: string, value: FormDataEntryValue];

export class FormData {
  #entries: Entry[] = [];

  constructor(form?: undefined) {
    if (form !== undefined) throw new TypeError("there are no form elements here; append the entries");
  }

  append(name: string, value: string | Blob, filename?: string): void {
    this.#entries.push(entryOf("append", arguments.length, name, value, filename));
  }

  /** Replaces the first entry of this name, or appends one; others of this name are dropped. */
  set(name: string, value: string | Blob, filename?: string): void {
    const entry = entryOf("set", arguments.length, name, value, filename);
    const first = this.#entries.findIndex((one) => one[0] === entry[0]);
    if (first < 0) {
      this.#entries.push(entry);
    } else {
      this.#entries[first] = entry;
      this.#entries = this.#entries.filter((one, at) => at <= first || one[0] !== entry[0]);
    }
  }

  get(name: string): FormDataEntryValue | null {
    const wanted = text(name);
    return this.#entries.find((one) => one[0] === wanted)?.[1] ?? null;
  }

  getAll(name: string): FormDataEntryValue[] {
    const wanted = text(name);
    return this.#entries.filter((one) => one[0] === wanted).map((one) => one[1]);
  }

  has(name: string): boolean {
    const wanted = text(name);
    return this.#entries.some((one) => one[0] === wanted);
  }

  delete(name: string): void {
    const unwanted = text(name);
    this.#entries = this.#entries.filter((one) => one[0] !== unwanted);
  }

  *entries(): IterableIterator<[string, FormDataEntryValue]> {
    for (let i = 0; i < this.#entries.length; i++) yield [...this.#entries[i]!];
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): IterableIterator<FormDataEntryValue> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(callback: (value: FormDataEntryValue, name: string, form: FormData) => void, thisArg?: unknown): void {
    for (const [name, value] of this.entries()) callback.call(thisArg, value, name, this);
  }

  [Symbol.iterator](): IterableIterator<[string, FormDataEntryValue]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return "FormData";
  }
}

function text(value: unknown): string {
  return String(value).toWellFormed();
}

function entryOf(what: string, count: number, name: string, value: unknown, filename: string | undefined): Entry {
  if (count < 2) throw new TypeError(`FormData.${what} takes a name and a value`);
  if (!(value instanceof Blob)) {
    if (count > 2) throw new TypeError(`FormData.${what} takes a file name only with a Blob`);
    return [text(name), text(value)];
  }
  if (value instanceof File && filename === undefined) return [text(name), value];
  const named = filename !== undefined ? text(filename) : "blob";
  const modified = value instanceof File ? { lastModified: value.lastModified } : {};
  return [text(name), new File([blobBytes(value)], named, { type: value.type, ...modified })];
}
