/** A guest without the SDK that breaks the contract of its HTTP replies and of its operations: one path for each way. */
import * as actors from "tenure:edge/actors@0.1.0";
import * as timers from "tenure:edge/timers@0.1.0";
import * as storage from "tenure:edge/storage@0.1.0";
import * as outcome from "tenure:edge/outcome@0.1.0";

const say = (headers, body = "ok", status = 200, binary = false) => outcome.respond(status, headers, body, binary);
const delivered = [];
let begun = [];

const ways = {
  "/hello": () => say("content-type: text/plain\n", "hello"),
  "/crlf": () => say("x-a: 1\r\nset-cookie: stolen=1\n"),
  "/lf-value": () => say("x-a: 1\nset-cookie: a=b\n\nHTTP/1.1 200 OK\n"),
  "/nul": () => say("x-a: \0\n"),
  "/no-newline": () => say("x-a: 1"),
  "/name": () => say("x a: 1\n"),
  "/hop": () => say("connection: upgrade, x-a\ntransfer-encoding: chunked\nupgrade: h2c\nkeep-alive: 1\nx-a: kept\n"),
  "/length": () => say("content-length: 99999\nx-request-id: forged\ndate: never\n", "short"),
  "/status-0": () => say("", "", 0),
  "/status-101": () => say("", "", 101),
  "/status-999": () => say("", "", 999),
  "/base64": () => say("", "***", 200, true),
  "/giant-head": () => say(`x-a: ${"x".repeat(70_000)}\n`),
  "/many-heads": () => say("x-a: 1\n".repeat(20_000)),
  "/giant-body": () => say("", "x".repeat((10 << 20) + 1)),
  "/twice": () => { say("", "first"); say("", "second"); },
  "/return": () => outcome["return"]("1"),
  "/storage": () => storage.put(0, "k", "1"),
  "/cancels": () => { for (let number = 0; number < 10_000; number++) timers.cancel(number * 429_496); say("", "ok"); },
  "/unbound": () => { begun = [actors.invoke("ELSEWHERE", "victim", "count", "[]"), actors.invoke("", "", "", "")]; },
  "/nameless": () => { begun = [actors.invoke("HOSTILE", "", "count", "[]"), actors.invoke("HOSTILE", "x".repeat(5000), "count", "[]")]; },
  "/bad-arguments": () => { begun = ["", "{", "[", "null", '"x"', "[[[["].map((text) => actors.invoke("HOSTILE", "forged", "count", text)); },
  /** Begins operations, cancels all but its own timer's number and those of others, and waits for what comes. */
  "/forged": () => { begun = [timers.start(1)]; for (const step of [-1, 1, 2, 1000]) timers.cancel((begun[0] + step) >>> 0); },
};

const settled = (number, what) => {
  delivered.push([number, what]);
  begun = begun.filter((one) => one !== number);
  if (begun.length === 0) say("", JSON.stringify(delivered.map(([, text]) => text)));
};

export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: true, actors: [] }); },
  async fetch(method, url) { delivered.length = 0; ways[new RegExp("//[^/]*(/.*)").exec(url)[1]](); },
  async invoke() { outcome["return"]("null"); },
  async alarm() { outcome["return"](""); },
  async resolve(number, value) { settled(number, value); },
  async resolveResponse(number, status) { settled(number, `${status}`); },
  async reject(number, name) { settled(number, name); },
};
