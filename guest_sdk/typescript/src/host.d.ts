/** The host's imports as the component toolchain shows them to JavaScript: one ES module for each WIT interface.
 *
 *  `option<T>` is `T | null`; the error of a `result` is thrown as an object whose `payload` is the WIT value. None of
 *  them may be called while the snapshot is made. A string with a lone surrogate passed to any of them is a trap.
 */
declare module "tenure:edge/storage@0.1.0" {
  export function get(txn: number, key: string): string | null;
  export function put(txn: number, key: string, value: string): void;
  function remove(txn: number, key: string): boolean;
  export { remove as delete };
  export function list(
    txn: number, prefix: string, start: string, end: string | null, reverse: boolean, limit: number,
  ): string;
  export function deleteAll(txn: number): void;
  export function begin(txn: number): number;
  export function commit(txn: number): void;
  export function rollback(txn: number): void;
  export function getAlarm(): number | null;
  export function setAlarm(at: number | null): void;
}
declare module "tenure:edge/actors@0.1.0" {
  export function invoke(binding: string, name: string, method: string, args: string): number;
  export function fetch(
    binding: string, name: string, method: string, url: string, headers: string, body: string, binary: boolean,
  ): number;
}
declare module "tenure:edge/outbound@0.1.0" {
  export function fetch(
    method: string, url: string, headers: string, body: string, binary: boolean, redirect: string,
  ): number;
}
declare module "tenure:edge/timers@0.1.0" {
  export function start(milliseconds: number): number;
  export function cancel(operation: number): void;
}
declare module "tenure:edge/outcome@0.1.0" {
  export function respond(status: number, headers: string, body: string, binary: boolean): void;
  function finish(value: string): void;
  export { finish as return };
  export function fail(name: string, message: string, stack: string): void;
  export function relay(name: string, message: string, cause: string, stack: string): void;
  export function crash(message: string): void;
  export function ready(): void;
  export function block(blocked: boolean): void;
}
declare module "tenure:edge/clock@0.1.0" {
  export function now(): number;
  export function monotonic(): number;
}
declare module "tenure:edge/random@0.1.0" {
  export function bytes(count: number): string;
}
declare module "tenure:edge/log@0.1.0" {
  export function write(level: "debug" | "info" | "warn" | "error", message: string): void;
}
declare module "tenure:edge/config@0.1.0" {
  export function get(): string;
}
declare module "tenure:edge/web@0.1.0" {
  export function parseUrl(input: string, base: string | null): string | null;
  export function setUrl(href: string, property: string, value: string): string | null;
  export function encodeUtf8(text: string): string;
  export function decodeUtf8(base64: string, fatal: boolean): string | null;
}
declare module "tenure:edge/crypto@0.1.0" {
  export function digest(algorithm: string, data: string): string | null;
  export function hmac(hash: string, key: string, data: string): string | null;
  export function verify(algorithm: string, key: string, signature: string, data: string): boolean | null;
}

/** Globals of the engine that no TypeScript library names. */
declare class DOMException extends Error {
  constructor(message?: string, name?: string);
  readonly code: number;
}
declare class InternalError extends Error {}
declare function queueMicrotask(callback: () => void): void;
declare function atob(base64: string): string;
declare function btoa(text: string): string;
