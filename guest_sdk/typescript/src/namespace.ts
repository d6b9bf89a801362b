/** `env.NAME` and the stubs it gives: naming an actor costs no I/O, calling it starts an operation.
 *
 *  A stub is a small object of its own whose prototype belongs to the namespace. A method that was called before is an
 *  ordinary function on that prototype; only the first use of a name reaches the Proxy behind it, which makes it. So a
 *  call costs no trap, and `then` is never a method: a stub can be returned from an async function.
 */
import * as actors from "tenure:edge/actors@0.1.0";
import { bytes } from "tenure:edge/random@0.1.0";
import { encodeArguments } from "./codec.ts";
import { checkedText } from "./names.ts";
import { ResponseWaiter, methodResult, waitFor } from "./operations.ts";
import { requireServing } from "./phase.ts";
import { rejected } from "./promises.ts";
import { rejectOnAbort } from "./web/abort.ts";
import { gathered, isBinary, takeWire, wireHeaders } from "./web/body.ts";
import { Request, signalOf, type RequestInit } from "./web/request.ts";
import type { Response } from "./web/response.ts";
import type { URL } from "./web/url.ts";

const NAME_BYTES_MAX = 1024;
const { create, defineProperty } = Object;
const ObjectPrototype = Object.prototype;

export interface ActorStub {
  readonly id: string;
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

export interface IdFromNameOptions {
  readonly [option: string]: unknown;
}

/** Names that are no methods of the other actor: asked by `await`, JSON.stringify and the language itself. */
const NEVER_REMOTE = new Set<string>(["then", "toJSON", ...Object.getOwnPropertyNames(ObjectPrototype)]);

export class ActorNamespace {
  readonly #prototype: object;

  constructor(binding: string) {
    this.#prototype = stubPrototype(binding);
  }

  /** The stub of the actor with this name: any non-empty text of up to 1,024 bytes. */
  idFromName(name: string, _options?: IdFromNameOptions): ActorStub {
    return stub(this.#prototype, checkedText(name, "an actor's name", NAME_BYTES_MAX));
  }

  /** The stub of an actor that nobody has named before: its id is 128 random bits in hexadecimal. */
  newUniqueId(): ActorStub {
    requireServing("newUniqueId");
    return stub(this.#prototype, Uint8Array.fromBase64(bytes(16)).toHex());
  }
}

function stub(prototype: object, name: string): ActorStub {
  const made = create(prototype) as { id: string };
  made.id = name;
  return made as unknown as ActorStub;
}

function stubPrototype(binding: string): object {
  const prototype: object = create(
    new Proxy(ObjectPrototype, {
      get(target, property, receiver) {
        if (typeof property === "symbol" || NEVER_REMOTE.has(property)) return Reflect.get(target, property, receiver);
        const method = remoteMethod(binding, property);
        defineProperty(prototype, property, { value: method, configurable: true });
        return method;
      },
      set(_target, property, value, receiver: object) {
        defineProperty(receiver, property, { value, writable: true, enumerable: true, configurable: true });
        return true;
      },
    }),
  );
  // found here, so that giving a stub its name never reaches the Proxy
  defineProperty(prototype, "id", { value: undefined, writable: true, configurable: true });
  return defineProperty(prototype, "fetch", { value: remoteFetch(binding), configurable: true });
}

function remoteMethod(binding: string, method: string): (this: ActorStub, ...args: unknown[]) => Promise<unknown> {
  const wellFormed = method.toWellFormed();
  return function (...args) {
    try {
      requireServing("a call to an actor");
      return methodResult(actors.invoke(binding, nameOf(this, method), wellFormed, encodeArguments(args)));
    } catch (error) {
      return rejected(error);
    }
  };
}

function remoteFetch(binding: string): ActorStub["fetch"] {
  return async function (this: ActorStub, input, init) {
    requireServing("a call to an actor");
    const name = nameOf(this, "fetch");
    const request = init === undefined && input instanceof Request ? input : new Request(input, init);
    const signal = signalOf(request);
    signal?.throwIfAborted();
    const waiting = gathered(request);
    if (waiting !== undefined) await waiting;
    const body = takeWire(request);
    const operation = actors.fetch(
      binding, name, request.method, request.url, wireHeaders(request), body, isBinary(request),
    );
    const response = new Promise<Response>((resolve, reject) => {
      waitFor(operation, new ResponseWaiter(resolve, reject));
    });
    return signal === undefined ? response : rejectOnAbort(response, signal, operation);
  };
}

function nameOf(caller: ActorStub | undefined, method: string): string {
  const name = caller?.id;
  if (typeof name !== "string") throw new TypeError(`${method} was called without its stub; write stub.${method}(...)`);
  return name;
}
