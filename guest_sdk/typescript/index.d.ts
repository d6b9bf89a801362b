/**
 * The runtime of Tenure functions and stateful actors.
 *
 * A function is a module that exports a handler as its default and, if it has actors, their classes by name:
 *
 *     import { StatefulActor } from "@tenure/edge-runtime";
 *
 *     export class Counter extends StatefulActor {
 *       async add(n: number): Promise<number> {
 *         const value = ((await this.ctx.storage.get<number>("value")) ?? 0) + n;
 *         await this.ctx.storage.put("value", value);
 *         return value;
 *       }
 *     }
 *
 * The web platform's own types (Request, Response, URL and so on) come from TypeScript's "WebWorker" library.
 */

/** What the manifest gives to the function, the same object that the handler and the actors get. */
export const env: Readonly<Record<string, any>>;

/** Secrets of the manifest, by their binding: the type of `env.SECRETS`. */
export interface Secrets {
  get(binding: string): Promise<string | undefined>;
}

// ---------------------------------------------------------------------------------------------------------- actors

/**
 * The class an actor extends. There is one instance for each name; it runs one method at a time, and what a method
 * writes is committed when it returns, before its caller hears of it. Only `ctx.storage` survives: fields of the
 * instance may be lost between any two calls.
 *
 * Public methods can be called through a stub. A name that begins with `_` is hidden from callers.
 */
export class StatefulActor<E = unknown> {
  constructor(ctx: ActorContext, env: E);

  protected readonly ctx: ActorContext;
  protected readonly env: E;

  /** Answers `stub.fetch`. An actor without its own answers 404. */
  fetch(request: Request): Promise<Response> | Response;

  /** Runs when the alarm that `setAlarm` set is due. At least once: a failing one is tried again. */
  alarm?(info: AlarmInfo): Promise<void> | void;
}

export interface AlarmInfo {
  /** How many tries came before this one. */
  readonly retryCount: number;
  readonly isRetry: boolean;
}

/** What an actor reaches through `this.ctx`. */
export interface ActorContext {
  /** The name given to `idFromName`, or the id that `newUniqueId` made. */
  readonly id: string;
  readonly storage: ActorStorage;

  /**
   * For the constructor: nothing else runs on this actor until `callback` settles, 30 s at most. When it throws, the
   * call that woke the actor fails, and the next call starts it afresh.
   */
  blockConcurrencyWhile<T>(callback: () => Promise<T> | T): Promise<T>;

  setAlarm(time: number | Date): Promise<void>;
  getAlarm(): Promise<number | null>;
  deleteAlarm(): Promise<void>;
}

/** Values may be JSON, `undefined`, Date, Map, Set, BigInt, RegExp, ArrayBuffer and typed arrays, nested at will. */
interface StorageOperations {
  /** `undefined` when the key is absent. */
  get<T = unknown>(key: string): Promise<T | undefined>;
  /** Those of the keys that are there, in the order asked. */
  get<T = unknown>(keys: readonly string[]): Promise<Map<string, T>>;
  /** A key has up to 2,048 bytes of UTF-8, a value up to 1 MiB in its stored form. */
  put<T>(key: string, value: T): Promise<void>;
  put<T>(entries: Readonly<Record<string, T>>): Promise<void>;
  /** Whether the key was there. */
  delete(key: string): Promise<boolean>;
  /** How many of the keys were there. */
  delete(keys: readonly string[]): Promise<number>;
  /** Entries in the order of their keys' UTF-8 bytes. */
  list<T = unknown>(options?: ListOptions): Promise<Map<string, T>>;
}

export interface ListOptions {
  /** Only keys that begin with this. */
  prefix?: string;
  /** From this key on, itself included. Not together with `startAfter`. */
  start?: string;
  /** After this key. */
  startAfter?: string;
  /** Up to this key, itself not included. */
  end?: string;
  /** From the end down; the bounds keep their meaning. */
  reverse?: boolean;
  /** 128 unless told, 1,000 at most. */
  limit?: number;
}

/** An actor's durable storage. What one call writes is committed together when the call returns, or not at all. */
export interface ActorStorage extends StorageOperations {
  /** Removes every key; the alarm stays. */
  deleteAll(): Promise<void>;

  /** Runs `callback`. When it throws, what it wrote through `txn` is dropped, and this rejects with what it threw. */
  transaction<T>(callback: (txn: StorageTransaction) => Promise<T> | T): Promise<T>;

  /** Sets the actor's one alarm: milliseconds since 1970 or a Date. It replaces the one before. */
  setAlarm(time: number | Date): Promise<void>;
  /** Milliseconds since 1970, or null when none is set. */
  getAlarm(): Promise<number | null>;
  deleteAlarm(): Promise<void>;
}

export interface StorageTransaction extends StorageOperations {
  /** Drops what the transaction wrote; nothing more can be done with it. */
  rollback(): void;
}

// ------------------------------------------------------------------------------------------------------ namespaces

/** The methods of `A` as a stub has them: what they return comes as a promise. */
export type ActorMethods<A> = {
  [K in Exclude<keyof A, keyof StatefulActor | `_${string}`> as A[K] extends (...args: any[]) => any ? K : never]:
    A[K] extends (...args: infer P) => infer R ? (...args: P) => Promise<Awaited<R>> : never;
};

/** The handle of one actor. Its methods are the methods of the actor's class; several calls at once really overlap. */
export interface ActorStub {
  /** The actor's name, or the id that `newUniqueId` made. */
  readonly id: string;
  /** Calls the actor's `fetch`. */
  fetch(input: Request | string | URL, init?: RequestInit): Promise<Response>;
}

export interface IdFromNameOptions {
  /** Reserved: no option has a meaning yet. */
  readonly [option: string]: unknown;
}

/**
 * `env.NAME`: the actors of one type. `ActorNamespace<Counter>` gives stubs with the methods of `Counter`; without a
 * class, or to name the methods yourself, extend it and narrow what `idFromName` returns.
 */
export interface ActorNamespace<A = unknown> {
  /** The stub of the actor with this name: any non-empty text of up to 1,024 bytes. Answers at once, without I/O. */
  idFromName(name: string, options?: IdFromNameOptions): unknown extends A ? ActorStub : ActorStub & ActorMethods<A>;
  /** The stub of an actor that nobody has named before. */
  newUniqueId(): unknown extends A ? ActorStub : ActorStub & ActorMethods<A>;
}

// ---------------------------------------------------------------------------------------------------------- errors

/** Base of every error that an actor call can end with. */
export class ActorError extends Error {}
/** The method threw: `message` is what it said, `cause` an Error whose `name` is the name of what it threw. */
export class ActorMethodError extends ActorError {
  readonly cause: Error;
}
/** The method's name begins with `_`. */
export class ActorPrivateMethodError extends ActorError {}
/** The actor has no such method. */
export class ActorUnknownMethodError extends ActorError {}
/** No function of the tenant ships the actor's class. */
export class ActorTypeNotFoundError extends ActorError {}
/** The method ran over its time and was stopped. */
export class ActorMethodTimeoutError extends ActorError {}
/** The actor's `fetch` ran over its time and was stopped. */
export class ActorFetchTimeoutError extends ActorError {}
/** `blockConcurrencyWhile` ran over its time. */
export class BlockConcurrencyTimeoutError extends ActorError {}
/** The commit before the reply failed. */
export class ActorOutputGateError extends ActorError {}
/** The actor's queue is full; try again later. */
export class ActorOverloadedError extends ActorError {}
/** The call chain comes back to an actor that is in it, or is too deep. */
export class ActorDeadlockError extends ActorError {}
/** The actor trapped, or ran out of memory, stack or CPU time. */
export class ActorCrashedError extends ActorError {}
/** A value cannot be sent or stored; the message names where in it, such as `$.items[3]`. */
export class CodecError extends ActorError {}
/** A limit on stored or sent data is reached. */
export class QuotaExceededError extends ActorError {}
