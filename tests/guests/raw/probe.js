/** A guest without the SDK, straight against the WIT world: one method for each behaviour that a test wants to see.
 *  `invoke(method, arguments)` calls it; what it gives is returned, what it throws is failed with.
 */
import * as storage from "tenure:edge/storage@0.1.0";
import * as actors from "tenure:edge/actors@0.1.0";
import * as timers from "tenure:edge/timers@0.1.0";
import * as outcome from "tenure:edge/outcome@0.1.0";
import * as clock from "tenure:edge/clock@0.1.0";
import * as random from "tenure:edge/random@0.1.0";
import * as log from "tenure:edge/log@0.1.0";
import * as config from "tenure:edge/config@0.1.0";

const pending = new Map();
const deliveries = [];
let generation = 0;
let calls = 0;
const operation = (number) => new Promise((resolve, reject) => pending.set(number, { resolve, reject }));
const timer = (milliseconds) => operation(timers.start(milliseconds));
const ask = async (name, ...args) => JSON.parse(await operation(actors.invoke("B", name, "ask", JSON.stringify(args))));
const never = () => new Promise(() => {});
const settle = (number, how, value) => {
  deliveries.push(number);
  const waiting = pending.get(number);
  pending.delete(number);
  waiting?.[how](value);
};
const error = (name, message) => Object.assign(new Error(message), { name });

const methods = {
  echo: (value) => value,
  length: (text) => text.length,
  count: () => ++calls,
  config: () => JSON.parse(config.get()),
  now: () => [clock.now(), clock.monotonic()],
  throws: (name, message) => { throw error(name, message); },

  put: (key, value) => { storage.put(0, key, value); return storage.get(0, key) ?? null; },
  get: (key) => storage.get(0, key) ?? null,
  storage() {
    storage.put(0, "a", "1");
    storage.put(0, "é", "2");
    const txn = storage.begin(0);
    storage.put(txn, "b", "3");
    storage.commit(txn);
    storage.rollback(storage.begin(0));
    const listed = storage.list(0, "", "", undefined, false, 10);
    const gone = [storage.delete(0, "a"), storage.delete(0, "a")];
    storage.setAlarm(12.5);
    const alarm = storage.getAlarm();
    storage.setAlarm(undefined);
    storage.deleteAll(0);
    return { listed: JSON.parse(listed), gone, alarm, cleared: storage.getAlarm() ?? null, rest: storage.list(0, "", "", "z", true, 5) };
  },
  refused(key) { try { storage.put(0, key, ""); } catch (e) { const { name, message } = e.payload ?? e; return [name, message]; } },

  async waits(milliseconds) { await timer(milliseconds); return "done"; },
  async asks(...args) { return await ask("one", ...args); },
  async asksMany(count) { return await Promise.all(Array.from({ length: count }, (_, index) => ask(`n${index}`, index))); },
  async asksAndSpins(binding, milliseconds) {
    const answer = operation(actors.invoke(binding, "x", "y", "[]")).catch((e) => e.name);
    const name = await answer;
    methods.burn(milliseconds);
    return name;
  },
  async fetches() {
    const { status, body } = await operation(actors.fetch("B", "one", "GET", "http://x/", "a: b\n", "hi", false));
    return [status, body];
  },
  async overlap(...lengths) { const order = []; await Promise.all(lengths.map(async (ms) => { await timer(ms); order.push(ms); })); return order; },
  async cancelled() { const first = timers.start(10); timers.cancel(first); timers.cancel(first); timers.cancel(77); await timer(20); return deliveries.includes(first); },
  /** Each operation is started between generations of microtasks; a delivery may come only when none is left. */
  async generations(count) {
    const early = [];
    for (let index = 0; index < count; index++) {
      generation = index;
      const asked = ask("one", index);
      let settled = false;
      asked.then(() => { settled = true; });
      for (let step = 0; step < 5; step++) { await undefined; if (settled) early.push(index); }
      if (Number(await asked) !== index) early.push(-index);
    }
    return { early, generation };
  },
  async opens(count) { for (let index = 0; index < count; index++) timers.start(1000); await never(); },
  async keepsStarting(milliseconds) { for (;;) { await timer(0); methods.burn(milliseconds); } },

  spin() { for (;;); },
  work(steps) { let sum = 0; for (let step = 0; step < steps; step++) sum += step & 3; return sum; },
  burn(milliseconds) { const end = clock.monotonic() + milliseconds; while (clock.monotonic() < end); return milliseconds; },
  async storm() { for (;;) await undefined; },
  recurse() { const down = (n) => 1 + down(n + 1); return down(0); },
  hoard() { const kept = []; for (;;) kept.push(new Uint8Array(1 << 20).fill(1)); },
  never,
  says(value) { outcome["return"](JSON.stringify(value)); methods.spin(); },
  /** Burns, and uses every import while it does: the host answers on its background thread. */
  async burnAndWork(milliseconds) {
    methods.burn(milliseconds);
    storage.put(0, "k", "v");
    log.write("info", `stored ${storage.get(0, "k")}`);
    const both = Promise.all([ask("one", 1), timer(1)]);
    methods.burn(milliseconds);
    const [answer] = await both;
    methods.burn(milliseconds);
    return [answer, storage.get(0, "k"), random.bytes(6).length];
  },

  twice() { outcome["return"]("1"); outcome["return"]("2"); },
  badTxn: () => storage.get(99, "k") ?? null,
  randomBytes: (count) => random.bytes(count).length,
  surrogate: () => storage.put(0, "\ud800x", "v"),
  logs(level, message, times) { for (let index = 0; index < times; index++) log.write(level, message); return times; },
  cancels(times) { const one = timers.start(1000); for (let index = 0; index < times; index++) timers.cancel(one); return times; },
  blocks(times) { for (let index = 0; index < times; index++) outcome.block(index % 2 === 0); return times; },
  async toggles(milliseconds) { for (;;) { outcome.block(true); outcome.block(false); await timer(milliseconds); } },
  async blocked(milliseconds) { outcome.block(true); await timer(milliseconds); outcome.block(false); return "unblocked"; },
  async forged() { const one = timers.start(5); await operation(one); await timer(5); return deliveries; },
};

const run = (action) => {
  Promise.resolve().then(action).then(
    (value) => outcome["return"](JSON.stringify(value) ?? "null"),
    (e) => outcome.fail(String(e?.name), String(e?.message), String(e?.stack)),
  );
};

export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: true, actors: ["Probe"] }); },
  async fetch(method, url, headers, body, binary) {
    outcome.respond(200, headers, `${method} ${url} ${body}`, binary);
  },
  async invoke(method, args) {
    if (method === "awaits") await never();
    if (method === "recurseInExport") methods.recurse();
    run(() => methods[method](...JSON.parse(args)));
  },
  async alarm(retryCount) { outcome["return"](""); log.write("info", `alarm ${retryCount}`); },
  async resolve(number, value) { settle(number, "resolve", value); },
  async resolveResponse(number, status, headers, body) { settle(number, "resolve", { status, headers, body }); },
  async reject(number, name, message) { settle(number, "reject", error(name, message)); },
};
