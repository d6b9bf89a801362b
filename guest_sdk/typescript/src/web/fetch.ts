/** fetch: a request to another host, as an operation of the running call.
 *
 *  Where it may go is the host's to say ([outbound] of the manifest); a refusal and a failure are TypeErrors that say
 *  why. An aborted fetch is cancelled on the host, too: its connection is closed.
 */
import * as outbound from "tenure:edge/outbound@0.1.0";
import { waitFor, type Waiter } from "../operations.ts";
import { requireServing } from "../phase.ts";
import { rejectOnAbort } from "./abort.ts";
import { gathered, isBinary, takeWire, wireHeaders } from "./body.ts";
import { Request, signalOf, type RequestInit } from "./request.ts";
import { Response } from "./response.ts";
import type { URL } from "./url.ts";

/** The first line of a block whose response came from another URL than the one asked for, after redirects. */
const FINAL_URL = ":url: ";

class FetchWaiter implements Waiter {
  constructor(
    readonly url: string, readonly resolve: (response: Response) => void, readonly fail: (error: Error) => void,
  ) {}

  deliver(): void {
    this.fail(new TypeError("the host answered a fetch with a value"));
  }

  respond(status: number, headers: string, body: string, binary: boolean): void {
    const redirected = headers.startsWith(FINAL_URL);
    const end = redirected ? headers.indexOf("\n") : -1;
    const url = redirected ? headers.slice(FINAL_URL.length, end) : this.url;
    this.resolve(Response.fromFetch(status, headers.slice(end + 1), body, binary, withoutFragment(url), redirected));
  }
}

function withoutFragment(url: string): string {
  const hash = url.indexOf("#");
  return hash < 0 ? url : url.slice(0, hash);
}

export async function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  requireServing("fetch");
  const request = init === undefined && input instanceof Request ? input : new Request(input, init);
  const signal = signalOf(request);
  signal?.throwIfAborted();
  const waiting = gathered(request);
  if (waiting !== undefined) {
    await waiting;
    signal?.throwIfAborted();
  }
  const body = takeWire(request);
  const operation = outbound.fetch(
    request.method, request.url, wireHeaders(request), body, isBinary(request), request.redirect,
  );
  const response = new Promise<Response>((resolve, reject) => {
    waitFor(operation, new FetchWaiter(request.url, resolve, reject));
  });
  return signal === undefined ? response : rejectOnAbort(response, signal, operation);
}
