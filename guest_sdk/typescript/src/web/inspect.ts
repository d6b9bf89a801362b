/** Values as text for the log: what a person wants to see, bounded in depth and length. */
const DEPTH_MAX = 4;
const ITEMS_MAX = 100;
const LENGTH_MAX = 16_384;
const { keys, getPrototypeOf } = Object;
const { stringify } = JSON;

/** The text of one console call: a first string may have %s %d %i %f %j %o %O %c %%. */
export function format(values: readonly unknown[]): string {
  let rest = 0;
  let text = "";
  const first = values[0];
  if (typeof first === "string" && first.includes("%") && values.length > 1) {
    rest = 1;
    text = first.replace(/%[sdifjoOc%]/g, (code) => {
      if (code === "%%") return "%";
      if (rest >= values.length) return code;
      return formatOne(code, values[rest++]);
    });
    if (rest < values.length) text += " ";
  }
  for (let i = rest; i < values.length; i++) {
    const value = values[i];
    text += `${i > rest ? " " : ""}${typeof value === "string" ? value : inspect(value)}`;
  }
  return text.length > LENGTH_MAX ? `${text.slice(0, LENGTH_MAX)}… (${text.length} characters)` : text;
}

function formatOne(code: string, value: unknown): string {
  switch (code) {
    case "%s":
      return typeof value === "string" ? value : inspect(value);
    case "%d":
      return typeof value === "bigint" ? `${value}n` : String(Number(value));
    case "%i":
      return String(Math.trunc(Number(value)));
    case "%f":
      return String(Number(value));
    case "%c":
      return "";
    default:
      return inspect(value);
  }
}

/** `value` as text. Never throws, runs no getter, and stops at cycles. */
export function inspect(value: unknown): string {
  try {
    return show(value, []);
  } catch {
    return "[a value that cannot be shown]";
  }
}

function show(value: unknown, ancestors: readonly object[]): string {
  switch (typeof value) {
    case "string":
      return ancestors.length === 0 ? value : stringify(value);
    case "bigint":
      return `${value}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "function":
      return `[${String(value).startsWith("class") ? "class" : "Function"} ${value.name || "(anonymous)"}]`;
    case "object":
      return value === null ? "null" : showObject(value, ancestors);
    default:
      return String(value);
  }
}

function showObject(value: object, ancestors: readonly object[]): string {
  if (ancestors.includes(value)) return "[Circular]";
  if (value instanceof Error) return showError(value, ancestors);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (value instanceof Promise) return "Promise {}";
  const name = nameOf(value);
  if (ancestors.length >= DEPTH_MAX) return Array.isArray(value) ? "[Array]" : `[${name}]`;
  const inner = [...ancestors, value];
  if (Array.isArray(value)) return wrap("[", "]", bounded(value, (item) => show(item, inner)));
  if (value instanceof Map) {
    const items = bounded(value, ([key, item]) => `${show(key, inner)} => ${show(item, inner)}`);
    return `Map(${value.size}) ${wrap("{", "}", items)}`;
  }
  if (value instanceof Set) return `Set(${value.size}) ${wrap("{", "}", bounded(value, (item) => show(item, inner)))}`;
  if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
  if (ArrayBuffer.isView(value) && Symbol.iterator in value) {
    const items = value as unknown as ArrayLike<number>;
    return `${name}(${items.length}) ${wrap("[", "]", bounded(items, String))}`;
  }
  const shown = wrap("{", "}", bounded(keys(value), (key) => `${showKey(key)}: ${showProperty(value, key, inner)}`));
  return name === "Object" ? shown : `${name} ${shown}`;
}

function showProperty(value: object, key: string, ancestors: readonly object[]): string {
  const property = Object.getOwnPropertyDescriptor(value, key);
  return property !== undefined && "value" in property ? show(property.value, ancestors) : "[Getter]";
}

function showKey(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : stringify(key);
}

function showError(error: Error, ancestors: readonly object[]): string {
  const stack = typeof error.stack === "string" ? error.stack.trimEnd() : "";
  let text = `${error.name}: ${error.message}${stack === "" ? "" : `\n${stack}`}`;
  if (error.cause !== undefined && ancestors.length < DEPTH_MAX) {
    text += `\n  [cause]: ${show(error.cause, [...ancestors, error])}`;
  }
  return text;
}

function nameOf(value: object): string {
  const prototype = getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
  if (prototype === null) return "[Object: null prototype]";
  const name = prototype.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "Object";
}

function bounded<T>(items: Iterable<T> | ArrayLike<T>, one: (item: T) => string): string[] {
  const shown: string[] = [];
  for (const item of Symbol.iterator in items ? items : Array.from(items)) {
    if (shown.length === ITEMS_MAX) {
      shown.push("… more items");
      break;
    }
    shown.push(one(item));
  }
  return shown;
}

function wrap(open: string, close: string, items: readonly string[]): string {
  if (items.length === 0) return open + close;
  const line = items.join(", ");
  if (line.length <= 100 && !line.includes("\n")) return open === "[" ? `[ ${line} ]` : `${open} ${line} ${close}`;
  return `${open}\n  ${items.join(",\n").replaceAll("\n", "\n  ")}\n${close}`;
}
