/** The class an author extends, and what an actor reaches through `this.ctx`. */
import * as outcome from "tenure:edge/outcome@0.1.0";
import { ActorStorage, type AlarmTime } from "./storage.ts";
import { Response } from "./web/response.ts";
import type { Request } from "./web/request.ts";

export interface AlarmInfo {
  readonly retryCount: number;
  readonly isRetry: boolean;
}

/** What blocks the start of the actor: counted by the context, awaited by the guest before its first method. */
interface Blocking {
  depth: number;
  last: Promise<unknown> | undefined;
}

let blockingOf: (context: ActorContext) => Blocking;

export class ActorContext {
  /** The name given to `idFromName`. */
  readonly id: string;
  readonly storage: ActorStorage;
  readonly #blocking: Blocking = { depth: 0, last: undefined };

  static {
    blockingOf = (context) => context.#blocking;
  }

  constructor(id: string) {
    this.id = id;
    this.storage = new ActorStorage();
  }

  /** Runs `callback`; nothing else runs on this actor until it settles. For the constructor: the first call waits. */
  blockConcurrencyWhile<T>(callback: () => Promise<T> | T): Promise<T> {
    if (typeof callback !== "function") throw new TypeError("blockConcurrencyWhile takes a function");
    const promise = runBlocking(this.#blocking, callback);
    this.#blocking.last = promise;
    promise.catch(() => {}); // the guest awaits it, and so may the author: neither is unhandled
    return promise;
  }

  setAlarm(time: AlarmTime): Promise<void> {
    return this.storage.setAlarm(time);
  }

  getAlarm(): Promise<number | null> {
    return this.storage.getAlarm();
  }

  deleteAlarm(): Promise<void> {
    return this.storage.deleteAlarm();
  }
}

async function runBlocking<T>(blocking: Blocking, callback: () => Promise<T> | T): Promise<T> {
  if (blocking.depth++ === 0) outcome.block(true);
  try {
    return await callback();
  } finally {
    if (--blocking.depth === 0) outcome.block(false);
  }
}

/** Settles when everything the constructor blocked on is done; undefined when it blocked on nothing. */
export function blockedOn(context: ActorContext): Promise<void> | undefined {
  const blocking = blockingOf(context);
  return blocking.last === undefined ? undefined : drain(blocking);
}

async function drain(blocking: Blocking): Promise<void> {
  let awaited: Promise<unknown> | undefined;
  while (awaited !== blocking.last) {
    awaited = blocking.last;
    await awaited;
  }
  blocking.last = undefined;
}

export class StatefulActor<E = unknown> {
  protected readonly ctx: ActorContext;
  protected readonly env: E;

  constructor(ctx: ActorContext, env: E) {
    this.ctx = ctx;
    this.env = env;
  }

  /** Reached by `stub.fetch`; an actor without its own answers 404. */
  fetch(_request: Request): Promise<Response> | Response {
    return new Response("not found", { status: 404 });
  }
}
