/** A guest without the SDK that stores, returns, throws and sends whatever text it gets, wire value or not.
 *  The argument of a method is a text as it comes; nothing here parses it.
 */
import * as storage from "tenure:edge/storage@0.1.0";
import * as actors from "tenure:edge/actors@0.1.0";
import * as log from "tenure:edge/log@0.1.0";
import * as outcome from "tenure:edge/outcome@0.1.0";

const methods = {
  put(text) { storage.put(0, "k", text); outcome.return("done"); },
  get() { outcome.return(storage.get(0, "k") ?? ""); },
  list() { outcome.return(storage.list(0, "", "", undefined, false, 10)); },
  key(text) { storage.put(0, text, "1"); outcome.return(storage.list(0, text, text, undefined, true, 10)); },
  bounds(text) { outcome.return(storage.list(0, text, text, text, true, 10)); },
  says(text) { outcome.return(text); },
  fails(text) { outcome.fail(text, text, text); },
  crashes(text) { outcome.crash(text); },
  logs(text) { log.write("info", text); log.write(text, text); outcome.return("done"); },
  ships(text) { actors.invoke("VAULT", "other", "put", text); },
  asks(text) { actors.invoke("PROBE", "probe", "echo", text); },
  calls(text) { actors.invoke("PROBE", "probe", text, text); },
  names(text) { actors.invoke("VAULT", text, "says", text); },
  binds(text) { actors.invoke(text, "x", "says", text); },
  fetches(text) { actors.fetch("PROBE", "probe", text, text, text, text, false); },
};

export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: false, actors: ["Vault"] }); },
  async fetch() { outcome.fail("Error", "no", ""); },
  async invoke(method, text) {
    try { methods[method](text); } catch (e) { const { name, message } = e.payload ?? e; outcome.fail(name, message, ""); }
  },
  async alarm() { outcome.return(""); },
  async resolve(operation, value) { outcome.return(value); },
  async resolveResponse(operation, status, headers, body) { outcome.return(body); },
  async reject(operation, name, message, cause) { outcome.fail(name, message, cause); },
};
