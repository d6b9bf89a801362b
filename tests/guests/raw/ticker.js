/** The smallest actor: it counts its alarms under "fired", and each of its methods writes one key. */
import * as storage from "tenure:edge/storage@0.1.0";
import * as outcome from "tenure:edge/outcome@0.1.0";

export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: false, actors: ["Probe"] }); },
  async fetch() { outcome.respond(404, "", "", false); },
  async invoke() { storage.put(0, "k", "1"); outcome["return"]("[null]"); },
  async alarm() { storage.put(0, "fired", `${Number(storage.get(0, "fired") ?? 0) + 1}`); outcome["return"](""); },
  async resolve() {},
  async resolveResponse() {},
  async reject() {},
};
