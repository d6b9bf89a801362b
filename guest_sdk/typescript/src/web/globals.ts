/** Installs the web platform on `globalThis`, before the author's modules run. */
import { AbortController, AbortSignal } from "./abort.ts";
import { Blob, File } from "./blob.ts";
import { makeDate } from "./clock.ts";
import { console } from "./console.ts";
import { Crypto, mathRandom } from "./crypto.ts";
import { CryptoKey } from "./crypto_key.ts";
import { TextDecoder, TextEncoder } from "./encoding.ts";
import { CustomEvent, Event, EventTarget } from "./events.ts";
import { fetch } from "./fetch.ts";
import { FormData } from "./form_data.ts";
import { Headers } from "./headers.ts";
import { Performance, PerformanceEntry } from "./performance.ts";
import { Request } from "./request.ts";
import { Response } from "./response.ts";
import { ReadableStream, ReadableStreamDefaultController, ReadableStreamDefaultReader } from "./streams.ts";
import { structuredClone } from "./structured_clone.ts";
import { SubtleCrypto } from "./subtle.ts";
import { clearTimeout, setInterval, setTimeout } from "./timers.ts";
import { URL } from "./url.ts";
import { URLSearchParams } from "./url_search_params.ts";

const globals = {
  AbortController, AbortSignal, Blob, Crypto, CryptoKey, CustomEvent, Date: makeDate(), Event, EventTarget, File,
  FormData, Headers, Performance, PerformanceEntry, ReadableStream, ReadableStreamDefaultController,
  ReadableStreamDefaultReader, Request, Response, SubtleCrypto, TextDecoder, TextEncoder, URL, URLSearchParams,
  clearInterval: clearTimeout, clearTimeout, console, crypto: new Crypto(), fetch,
  navigator: Object.freeze({ userAgent: "Tenure" }), performance: new Performance(), self: globalThis, setInterval,
  setTimeout, structuredClone,
};

for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}
Object.defineProperty(Math, "random", { value: mathRandom, writable: true, configurable: true });
