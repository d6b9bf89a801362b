/** Headers, kept as the host's header block until somebody needs more than one of them.
 *
 *  A block is `name: value` lines, each ended by a newline, names in lower case. Reading one header of a block is a
 *  search in the text; only iteration and changes parse it. `set-cookie` is the one header whose values stay apart.
 */
export type HeadersInit = Headers | Iterable<readonly [string, string]> | Record<string, string>;

type Values = Map<string, string | string[]>;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const CLEAN_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
const FORBIDDEN_IN_VALUE = /[\0\r\n]/;
const NOT_A_BYTE = /[^\x00-\xff]/;
const COOKIE = "set-cookie";

/** The block of `headers`, ready for the host. */
export let headerBlock: (headers: Headers) => string;
/** Headers of a block that is known to be well formed. */
export let headersFromBlock: (block: string) => Headers;

export class Headers {
  // exactly one of the two is set: the text, or what was parsed from it
  #block: string | undefined = "";
  #values: Values | undefined;

  static {
    headerBlock = (headers) => headers.#block ?? blockOf(headers.#values!);
    headersFromBlock = (block) => {
      const headers = new Headers();
      headers.#block = block;
      return headers;
    };
  }

  constructor(init?: HeadersInit) {
    if (init === undefined || init === null) return;
    if (init instanceof Headers) {
      this.#block = headerBlock(init);
    } else if (typeof init !== "object") {
      throw new TypeError("Headers takes an object, pairs or other Headers");
    } else if (Symbol.iterator in init) {
      for (const pair of init as Iterable<readonly string[]>) {
        const [name, value, ...more] = pair;
        if (value === undefined || more.length > 0) throw new TypeError("Headers takes pairs of a name and a value");
        this.append(name!, value);
      }
    } else {
      for (const name of Object.keys(init)) this.append(name, init[name]!);
    }
  }

  append(name: string, value: string): void {
    const key = normalName(name);
    const text = normalValue(value);
    const values = this.#parsed();
    const present = values.get(key);
    if (key !== COOKIE) values.set(key, present === undefined ? text : `${present as string}, ${text}`);
    else if (present === undefined) values.set(key, [text]);
    else (present as string[]).push(text);
  }

  set(name: string, value: string): void {
    const key = normalName(name);
    const text = normalValue(value);
    this.#parsed().set(key, key === COOKIE ? [text] : text);
  }

  delete(name: string): void {
    this.#parsed().delete(normalName(name));
  }

  get(name: string): string | null {
    const key = normalName(name);
    if (this.#block !== undefined) {
      const found = searchBlock(this.#block, key);
      if (found !== undefined) return found;
    }
    const value = this.#parsed().get(key);
    return value === undefined ? null : typeof value === "string" ? value : value.join(", ");
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }

  getSetCookie(): string[] {
    return [...((this.#parsed().get(COOKIE) as string[] | undefined) ?? [])];
  }

  *entries(): IterableIterator<[string, string]> {
    const values = this.#parsed();
    for (const name of [...values.keys()].sort()) {
      const value = values.get(name);
      if (typeof value === "string") yield [name, value];
      else if (value !== undefined) for (const one of value) yield [name, one];
    }
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(callback: (value: string, name: string, headers: Headers) => void, thisArg?: unknown): void {
    for (const [name, value] of this.entries()) callback.call(thisArg, value, name, this);
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return "Headers";
  }

  #parsed(): Values {
    if (this.#values === undefined) {
      this.#values = parseBlock(this.#block!);
      this.#block = undefined;
    }
    return this.#values;
  }
}

/** The value of a header that occurs once; null when it is absent; undefined when it occurs more than once. */
function searchBlock(block: string, name: string): string | null | undefined {
  const line = `\n${name}: `;
  let start: number;
  if (block.startsWith(`${name}: `)) {
    start = name.length + 2;
  } else {
    const at = block.indexOf(line);
    if (at < 0) return null;
    start = at + line.length;
  }
  const end = block.indexOf("\n", start);
  return block.includes(line, end) ? undefined : block.slice(start, end);
}

function parseBlock(block: string): Values {
  const values: Values = new Map();
  let start = 0;
  while (start < block.length) {
    const end = block.indexOf("\n", start);
    const colon = block.indexOf(": ", start);
    const name = block.slice(start, colon);
    const value = block.slice(colon + 2, end);
    const present = values.get(name);
    if (name === COOKIE) values.set(name, present === undefined ? [value] : [...present, value]);
    else values.set(name, present === undefined ? value : `${present as string}, ${value}`);
    start = end + 1;
  }
  return values;
}

function blockOf(values: Values): string {
  let block = "";
  for (const [name, value] of values) {
    if (typeof value === "string") block += `${name}: ${value}\n`;
    else for (const one of value) block += `${name}: ${one}\n`;
  }
  return block;
}

function normalName(name: string): string {
  const text = String(name);
  if (!TOKEN.test(text)) throw new TypeError(`${JSON.stringify(text)} is not a header name`);
  return text.toLowerCase();
}

function normalValue(value: string): string {
  const text = String(value);
  if (CLEAN_VALUE.test(text)) return text;
  if (NOT_A_BYTE.test(text)) throw new TypeError("a header value must not have characters above U+00FF");
  const trimmed = text.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (FORBIDDEN_IN_VALUE.test(trimmed)) throw new TypeError("a header value must not have line ends or zero bytes");
  return trimmed;
}
