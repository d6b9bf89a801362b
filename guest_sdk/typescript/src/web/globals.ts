/** Installs the web platform on `globalThis`, before the author's modules run. */
import { AbortController, AbortSignal } from "./abort.ts";
import { makeDate, performance } from "./clock.ts";
import { console } from "./console.ts";
import { Crypto, mathRandom } from "./crypto.ts";
import { TextDecoder, TextEncoder } from "./encoding.ts";
import { Event, EventTarget } from "./events.ts";
import { Headers } from "./headers.ts";
import { Request } from "./request.ts";
import { Response } from "./response.ts";
import { structuredClone } from "./structured_clone.ts";
import { clearTimeout, setInterval, setTimeout } from "./timers.ts";
import { URL } from "./url.ts";
import { URLSearchParams } from "./url_search_params.ts";

/** Requests that leave the host are not there yet: said at once, in words, instead of by a missing name. */
async function fetch(): Promise<never> {
  throw new TypeError("fetch to other hosts is not available in this version; call actors through env");
}

const globals = {
  AbortController, AbortSignal, Crypto, Date: makeDate(), Event, EventTarget, Headers, Request, Response, TextDecoder,
  TextEncoder, URL, URLSearchParams, clearInterval: clearTimeout, clearTimeout, console, crypto: new Crypto(), fetch,
  performance, self: globalThis, setInterval, setTimeout, structuredClone,
};

for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}
Object.defineProperty(Math, "random", { value: mathRandom, writable: true, configurable: true });
