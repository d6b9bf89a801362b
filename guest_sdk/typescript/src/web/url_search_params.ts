/** URLSearchParams: application/x-www-form-urlencoded, read and written with the engine's own percent coding. */
import { decodeUtf8Lossy } from "./encoding.ts";

export type SearchParamsInit = string | URLSearchParams | Iterable<readonly string[]> | Record<string, string>;

type Pair = [name: string, value: string];

/** Tells `changed` the query after every change that comes through `params`. */
export let linkToUrl: (params: URLSearchParams, changed: (query: string) => void) => void;
/** The URL's query was changed from outside. */
export let replaceFromUrl: (params: URLSearchParams, query: string) => void;

export class URLSearchParams {
  #pairs: Pair[];
  #changed: ((query: string) => void) | undefined;

  static {
    linkToUrl = (params, changed) => {
      params.#changed = changed;
    };
    replaceFromUrl = (params, query) => {
      params.#pairs = parseQuery(query);
    };
  }

  constructor(init: SearchParamsInit = "") {
    if (typeof init === "object" && init !== null) this.#pairs = pairsOf(init);
    else this.#pairs = parseQuery(String(init));
  }

  get size(): number {
    return this.#pairs.length;
  }

  append(name: string, value: string): void {
    this.#pairs.push([text(name), text(value)]);
    this.#update();
  }

  delete(name: string, value?: string): void {
    const [wantedName, wantedValue] = [text(name), value === undefined ? undefined : text(value)];
    this.#pairs = this.#pairs.filter(
      (pair) => pair[0] !== wantedName || (wantedValue !== undefined && pair[1] !== wantedValue),
    );
    this.#update();
  }

  get(name: string): string | null {
    const wanted = text(name);
    return this.#pairs.find((pair) => pair[0] === wanted)?.[1] ?? null;
  }

  getAll(name: string): string[] {
    const wanted = text(name);
    return this.#pairs.filter((pair) => pair[0] === wanted).map((pair) => pair[1]);
  }

  has(name: string, value?: string): boolean {
    const [wantedName, wantedValue] = [text(name), value === undefined ? undefined : text(value)];
    return this.#pairs.some(
      (pair) => pair[0] === wantedName && (wantedValue === undefined || pair[1] === wantedValue),
    );
  }

  set(name: string, value: string): void {
    const wanted = text(name);
    const first = this.#pairs.find((pair) => pair[0] === wanted);
    if (first === undefined) {
      this.#pairs.push([wanted, text(value)]);
    } else {
      first[1] = text(value);
      this.#pairs = this.#pairs.filter((pair) => pair === first || pair[0] !== wanted);
    }
    this.#update();
  }

  /** Orders the pairs by name, in UTF-16 units; pairs of one name keep their order. */
  sort(): void {
    this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#update();
  }

  *entries(): IterableIterator<Pair> {
    for (let i = 0; i < this.#pairs.length; i++) yield [...this.#pairs[i]!];
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(callback: (value: string, name: string, params: URLSearchParams) => void, thisArg?: unknown): void {
    for (const [name, value] of this.entries()) callback.call(thisArg, value, name, this);
  }

  [Symbol.iterator](): IterableIterator<Pair> {
    return this.entries();
  }

  toString(): string {
    return this.#pairs.map(([name, value]) => `${encodePart(name)}=${encodePart(value)}`).join("&");
  }

  get [Symbol.toStringTag](): string {
    return "URLSearchParams";
  }

  #update(): void {
    this.#changed?.(this.toString());
  }
}

function text(value: unknown): string {
  return String(value).toWellFormed();
}

function pairsOf(init: URLSearchParams | Iterable<readonly string[]> | Record<string, string>): Pair[] {
  if (!(Symbol.iterator in init)) return Object.keys(init).map((name) => [text(name), text(init[name])]);
  return Array.from(init as Iterable<readonly string[]>, (pair) => {
    const [name, value, ...more] = pair;
    if (value === undefined || more.length > 0) {
      throw new TypeError("URLSearchParams takes pairs of a name and a value");
    }
    return [text(name), text(value)];
  });
}

function parseQuery(query: string): Pair[] {
  const pairs: Pair[] = [];
  for (const part of (query.startsWith("?") ? query.slice(1) : query).split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    if (equals < 0) pairs.push([decodePart(part), ""]);
    else pairs.push([decodePart(part.slice(0, equals)), decodePart(part.slice(equals + 1))]);
  }
  return pairs;
}

function decodePart(part: string): string {
  const spaced = part.includes("+") ? part.replaceAll("+", " ") : part;
  if (!spaced.includes("%")) return spaced.toWellFormed();
  try {
    return decodeURIComponent(spaced).toWellFormed();
  } catch {
    return decodeLossy(spaced.toWellFormed());
  }
}

/** Percent-decoding that leaves a lone `%` as it is and turns malformed UTF-8 into U+FFFD. */
function decodeLossy(part: string): string {
  return part.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => decodeUtf8Lossy(Uint8Array.fromHex(run.replaceAll("%", ""))));
}

/** encodeURIComponent leaves `!'()~` as they are and writes a space as %20; the form encoding does neither. */
function encodePart(part: string): string {
  return encodeURIComponent(part).replace(/[!'()~]|%20/g, (found) => FORM[found as keyof typeof FORM]);
}

const FORM = { "!": "%21", "'": "%27", "(": "%28", ")": "%29", "~": "%7E", "%20": "+" };
