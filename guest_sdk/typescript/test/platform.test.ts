/** Blobs, forms, streams, events and crypto.subtle beside node's own, and the tables of the npm package busboy. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { startServing } from "../src/phase.ts";
import { AbortController } from "../src/web/abort.ts";
import { Blob, File } from "../src/web/blob.ts";
import { CryptoKey } from "../src/web/crypto_key.ts";
import { CustomEvent, Event, EventTarget } from "../src/web/events.ts";
import { FormData } from "../src/web/form_data.ts";
import { Performance } from "../src/web/performance.ts";
import { Request } from "../src/web/request.ts";
import { Response } from "../src/web/response.ts";
import { ReadableStream } from "../src/web/streams.ts";
import { SubtleCrypto } from "../src/web/subtle.ts";

const Platform = globalThis as any;
const subtle = new SubtleCrypto();
const reference = Platform.crypto.subtle;
startServing();

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of items) found.push(one);
  return found;
}

const utf8 = (text: string): any => Buffer.from(text);

test("a blob is what its parts are, and its slices are what the platform's are", async () => {
  const part = fc.oneof(fc.string({ unit: "binary" }), fc.uint8Array());
  await fc.assert(fc.asyncProperty(fc.array(part), fc.integer(), fc.integer({ min: -9, max: 9 }), async (parts, a, b) => {
    const all = Buffer.concat(parts.map((one) => Buffer.from(typeof one === "string" ? one.toWellFormed() : one)));
    const expected = all.subarray(a % 12, b); // which counts as Blob.slice does
    const blob = new Blob(parts as any).slice(a % 12, b, "Text/X");
    assert.deepEqual([blob.size, blob.type], [expected.length, "text/x"]);
    assert.deepEqual(Buffer.from(await blob.bytes()), expected);
  }));
  assert.equal(new Blob([], { type: "\u00e9" }).type, "");
  assert.throws(() => new Blob("text" as any), TypeError);
  const file = new File([new Blob(["a"]), "b"], "n.txt", { lastModified: 5 });
  assert.deepEqual([file.name, file.lastModified, await file.text(), file instanceof Blob], ["n.txt", 5, "ab", true]);
  assert.equal(new TextDecoder().decode((await new Response(file.stream()).bytes()) as any), "ab");
});

test("a form comes back as it was, and the platform reads what is written here", async () => {
  const name = fc.string({ unit: "binary" });
  const value = fc.oneof(fc.string({ unit: "binary" }), fc.uint8Array());
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(name, value), { maxLength: 5 }), async (entries) => {
    const form = new FormData();
    for (const [key, one] of entries) {
      if (typeof one === "string") form.append(key, one);
      else form.append(key, new Blob([one as any], { type: "x/y" }), key);
    }
    const sent = new Response(form);
    const type = sent.headers.get("content-type")!;
    const bytes = await sent.bytes();
    const read = await new Response(bytes, { headers: { "content-type": type } }).formData();
    const lines = (text: string) => text.toWellFormed().replace(/\r\n|\r|\n/g, "\r\n");
    const seen = [...read];
    assert.equal(seen.length, entries.length);
    for (const [i, [key, one]] of entries.entries()) {
      if (/%0[ad]|%22/i.test(key)) continue; // what is written for a quote cannot be told from itself
      const [seenKey, seenValue] = seen[i]!;
      assert.equal(seenKey, lines(key));
      if (typeof one === "string") assert.equal(seenValue, lines(one).replace(/^\ufeff/, ""));
      else assert.deepEqual(Buffer.from(await (seenValue as File).bytes()), Buffer.from(one));
    }
    if (entries.length > 0) {
      const theirs = await new Platform.Response(bytes, { headers: { "content-type": type } }).formData();
      assert.equal([...theirs].length, entries.length);
    }
  }), { numRuns: 200 });
});

test("a form keeps the rules of its methods", async () => {
  const form = new FormData();
  form.append("a", "1");
  form.append("b", "x");
  form.append("a", "2");
  form.set("a", "3");
  assert.deepEqual([...form], [["a", "3"], ["b", "x"]]);
  form.append("f", new Blob(["z"]));
  assert.equal((form.get("f") as File).name, "blob");
  form.delete("a");
  assert.deepEqual([form.has("a"), form.get("a"), form.getAll("b"), [...form.keys()]], [false, null, ["x"], ["b", "f"]]);
  assert.throws(() => (form as any).append("a"), TypeError);
  assert.throws(() => form.append("a", "text", "name"), TypeError);
  const request = new Request("http://a/", { method: "POST", body: new URLSearchParams("a=1&a=2") as any,
    headers: { "content-type": "application/x-www-form-urlencoded" } });
  assert.deepEqual((await request.formData()).getAll("a"), ["1", "2"]);
  for (const [body, type] of [["x", "text/plain"], ["x", "multipart/form-data"], ["x", "multipart/form-data; boundary=b"],
    ["--b\r\n\r\n\r\n--b--", "multipart/form-data; boundary=b"], ["--b\r\nx", "multipart/form-data; boundary=b"]]) {
    await assert.rejects(() => new Response(body!, { headers: { "content-type": type! } }).formData(), TypeError, body);
  }
});

/** The `tests` that a test file of busboy runs, without running them. */
function tableOf(file: string): any[] {
  const source = readFileSync(join(import.meta.dirname, "../../node_modules/busboy/test", file), "utf8");
  const start = source.indexOf("const tests = [");
  const code = `${source.slice(start, source.indexOf("\n];", start) + 3)} tests`;
  return runInNewContext(code, { Buffer, transcode: (bytes: any) => bytes }) as any[];
}

const charset = (one: any) => /utf16|utf-16|latin1|charset/i.test(JSON.stringify([one.charset, one.what]));

test("urlencoded forms of busboy's table are read alike", async () => {
  // left out: limits and charsets, which are busboy's own
  const table = tableOf("test-types-urlencoded.js").filter((one) => one.limits === undefined && !charset(one));
  assert.ok(table.length >= 15);
  for (const { source, expected, what } of table) {
    const body = Buffer.concat(source.map((one: any) => Buffer.from(one)));
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const form = await new Response(body as any, { headers }).formData();
    assert.equal(JSON.stringify([...form]), JSON.stringify(expected.map(([key, value]: string[]) => [key, value])), what);
  }
});

/** Where the Fetch Standard asks for something else than busboy does. */
const MULTIPART_DIFFERENCES = new Map([
  ["Empty content-type and empty content-disposition", "a part without a name fails the whole form"],
  ["No Content-Disposition", "a part without a name fails the whole form"],
  ["Files with filenames containing paths", "a file's name keeps its path"],
  ["Oversized part header", "busboy's own limit"],
  ["Unicode filenames", "filename* is not read"],
]);

test("multipart forms of busboy's table are read alike", async (context) => {
  const table = tableOf("test-types-multipart.js").filter((one) => one.limits === undefined && one.events === undefined);
  const failed: string[] = [];
  for (const { source, boundary, expected, what } of table) {
    const body = Buffer.concat(source.map((one: any) => Buffer.from(one)));
    const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
    const wanted = expected.map((one: any) => one.error !== undefined ? "error" : [
      one.name, one.type === "field" ? one.val : [one.info.filename, Buffer.from(one.data ?? "").toString("latin1")],
    ]);
    const form = await new Response(body as any, { headers }).formData().catch(() => null);
    const seen = form === null ? ["error"] : await Promise.all([...form].map(async ([key, value]) => [
      key, typeof value === "string" ? value : [value.name, Buffer.from(await value.bytes()).toString("latin1")],
    ]));
    const same = JSON.stringify(seen) === JSON.stringify(wanted) || (form === null && wanted.includes("error"));
    if (!same) failed.push(what);
  }
  context.diagnostic(`multipart: ${table.length - failed.length} of ${table.length}`);
  assert.deepEqual(failed.sort(), [...MULTIPART_DIFFERENCES.keys()].sort());
});

test("a stream gives its chunks in order, pulls only when asked, and tells its source when it is cancelled", async () => {
  const log: unknown[] = [];
  let n = 0;
  const counting = () => new ReadableStream<number>({
    pull: (controller) => (n === 3 ? controller.close() : controller.enqueue(n++)),
    cancel: (reason) => void log.push(["cancelled", reason]),
  }, { highWaterMark: 0 });
  const seen: number[] = [];
  for await (const one of counting()) seen.push(one);
  assert.deepEqual(seen, [0, 1, 2]);
  n = 0;
  const reader = counting().getReader();
  const reads = [reader.read(), reader.read()];
  assert.deepEqual(await Promise.all(reads), [{ value: 0, done: false }, { value: 1, done: false }]);
  await reader.cancel("enough");
  assert.deepEqual([log, await reader.read(), await reader.closed], [[["cancelled", "enough"]], { value: undefined, done: true }, undefined]);
  n = 0;
  for await (const one of counting()) if (one === 1) break;
  assert.deepEqual(log[1], ["cancelled", undefined]);
  const [a, b] = ReadableStream.from([1, 2]).tee();
  assert.deepEqual([await all(a), await all(b)], [[1, 2], [1, 2]]);
  const failing = new ReadableStream({ pull: () => { throw new RangeError("no more"); } });
  await assert.rejects(() => failing.getReader().read(), RangeError);
  const locked = counting();
  const first = locked.getReader();
  assert.throws(() => locked.getReader(), TypeError);
  first.releaseLock();
  await assert.rejects(() => first.read(), TypeError);
  assert.equal(locked.locked, false);
  assert.throws(() => new (locked.constructor as any)({ type: "else" }), TypeError);
});

test("a body is a stream when it is asked for, and a stream is a body", async () => {
  const bytes = new Uint8Array([1, 255]);
  const response = new Response(bytes);
  assert.deepEqual(Buffer.concat(await all(response.body as any)), Buffer.from(bytes));
  assert.ok(response.bodyUsed);
  await assert.rejects(() => response.text(), TypeError);
  const peeked = new Response("text");
  assert.ok(peeked.body !== null && !peeked.bodyUsed && peeked.body === peeked.body);
  assert.equal(await new Response(peeked.body).text(), "text");
  assert.ok(peeked.bodyUsed);
  assert.equal(new Response(null).body, null);
  const stream = () => ReadableStream.from([new Uint8Array([0x61]), new Uint8Array([0x62])]);
  const original = new Response(stream());
  const copy = original.clone();
  assert.deepEqual([await original.text(), await copy.text()], ["ab", "ab"]);
  await assert.rejects(() => new Response(ReadableStream.from(["text"]) as any).text(), /Uint8Array/);
  const used = stream();
  await used.getReader().read();
  assert.throws(() => new Response(used), TypeError);
});

test("listeners run once, passively, until removed or aborted, and one that throws stops no other", () => {
  const target = new EventTarget();
  const seen: string[] = [];
  const controller = new AbortController();
  const removed = (): void => void seen.push("removed");
  target.addEventListener("x", () => seen.push("once"), { once: true });
  target.addEventListener("x", (event) => event.preventDefault(), { passive: true });
  target.addEventListener("x", () => seen.push("until abort"), { signal: controller.signal });
  target.addEventListener("x", removed);
  target.addEventListener("x", { handleEvent: (event: Event) => void seen.push(event.type) });
  target.removeEventListener("x", removed);
  assert.equal(target.dispatchEvent(new Event("x", { cancelable: true })), true);
  controller.abort();
  target.addEventListener("x", (event) => event.preventDefault());
  assert.equal(target.dispatchEvent(new Event("x", { cancelable: true })), false);
  assert.deepEqual(seen, ["once", "until abort", "x", "x"]);
  assert.equal(new CustomEvent("c", { detail: 5 }).detail, 5);
});

test("performance measures between marks", () => {
  const performance = new Performance();
  performance.mark("a", { startTime: 1 });
  performance.mark("b", { startTime: 4 });
  assert.equal(performance.measure("m", "a", "b").duration, 3);
  assert.throws(() => performance.measure("m", "none"), { name: "SyntaxError" });
  performance.clearMarks("a");
  assert.deepEqual(performance.getEntries().map((one) => one.name), ["m", "b"]);
  performance.clearMarks();
  performance.clearMeasures();
  assert.ok(performance.now() >= 0 && performance.timeOrigin > 1e12);
});

const HASHES = ["SHA-1", "SHA-256", "SHA-384", "SHA-512"];

test("digests and HMACs are what the platform's are, and verify", async () => {
  for (const hash of HASHES) {
    assert.deepEqual(await subtle.digest(hash.toLowerCase(), utf8("text")), await reference.digest(hash, utf8("text")));
    const key = await subtle.generateKey({ name: "HMAC", hash }, true, ["sign", "verify"]);
    const raw = (await subtle.exportKey("raw", key)) as ArrayBuffer;
    const jwk = await subtle.exportKey("jwk", key);
    const theirs = await reference.importKey("raw", raw, { name: "HMAC", hash }, true, ["sign", "verify"]);
    assert.deepEqual(jwk, await reference.exportKey("jwk", theirs));
    const again = await subtle.importKey("jwk", jwk, { name: "hmac", hash: { name: hash } } as any, false, ["sign", "verify"]);
    const signature = await subtle.sign("HMAC", again, utf8("data"));
    assert.deepEqual(signature, await reference.sign("HMAC", theirs, utf8("data")));
    assert.ok(await subtle.verify("HMAC", key, signature, utf8("data")));
    assert.ok(!(await subtle.verify("HMAC", key, signature, utf8("Data"))));
    assert.ok(!(await subtle.verify("HMAC", key, signature.slice(1), utf8("data"))));
    assert.deepEqual({ ...key.algorithm }, { ...theirs.algorithm, hash: { name: hash } });
  }
});

test("signatures of Ed25519 and RSA keys verify, in every format that a key comes in", async () => {
  const kinds: [any, string, string[]][] = [[{ name: "Ed25519" }, "Ed25519", ["raw", "spki", "jwk"]]];
  for (const hash of HASHES) {
    const name = "RSASSA-PKCS1-v1_5";
    kinds.push([{ name, hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, name, ["spki", "jwk"]]);
  }
  for (const [algorithm, name, formats] of kinds) {
    const pair = await reference.generateKey(algorithm, true, ["sign", "verify"]);
    const signature = await reference.sign(name, pair.privateKey, utf8("data"));
    for (const format of formats) {
      const exported = await reference.exportKey(format, pair.publicKey);
      const key = await subtle.importKey(format, exported, algorithm, true, ["verify"]);
      assert.ok(await subtle.verify(name, key, signature, utf8("data")), `${name} ${format}`);
      assert.ok(!(await subtle.verify(name, key, signature, utf8("other"))));
      assert.equal(key.algorithm.modulusLength, algorithm.modulusLength);
      for (const other of formats.filter((one) => one !== "jwk")) {
        assert.deepEqual(await subtle.exportKey(other, key), await reference.exportKey(other, pair.publicKey));
      }
    }
    const jwk = await reference.exportKey("jwk", pair.privateKey);
    await assert.rejects(() => subtle.importKey("jwk", jwk, algorithm, false, ["verify"]), { name: "NotSupportedError" });
  }
});

test("each mistake with a key has Web Crypto's error", async () => {
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const raw = utf8("secret");
  const key = await subtle.importKey("raw", raw, hmac, false, ["sign"]);
  const forged = Object.create(CryptoKey.prototype, { algorithm: { value: hmac }, usages: { value: ["sign"] } });
  const mistakes: [string, () => Promise<unknown>][] = [
    ["NotSupportedError", () => subtle.digest("MD5", raw)],
    ["NotSupportedError", () => subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"])],
    ["NotSupportedError", () => subtle.importKey("pkcs8", raw, "Ed25519", false, ["verify"])],
    ["NotSupportedError", () => subtle.encrypt()],
    ["InvalidAccessError", () => subtle.verify("HMAC", key, raw, raw)],
    ["InvalidAccessError", () => subtle.sign("Ed25519", key, raw)],
    ["InvalidAccessError", () => subtle.exportKey("raw", key)],
    ["DataError", () => subtle.importKey("raw", new Uint8Array(0), hmac, false, ["sign"])],
    ["DataError", () => subtle.importKey("raw", raw, "Ed25519", false, ["verify"])],
    ["DataError", () => subtle.importKey("spki", raw, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, false, ["verify"])],
    ["DataError", () => subtle.importKey("jwk", { kty: "RSA" }, hmac, false, ["sign"])],
    ["DataError", () => subtle.importKey("jwk", { kty: "oct", k: "a+b=" }, hmac, false, ["sign"])],
    ["DataError", () => subtle.importKey("jwk", { kty: "oct", k: "YQ", alg: "HS512" }, hmac, false, ["sign"])],
    ["DataError", () => subtle.importKey("jwk", { kty: "oct", k: "YQ", ext: false }, hmac, true, ["sign"])],
    ["SyntaxError", () => subtle.importKey("raw", raw, hmac, false, [])],
    ["SyntaxError", () => subtle.importKey("raw", raw, hmac, false, ["encrypt"])],
    ["TypeError", () => subtle.importKey("raw", "text" as any, hmac, false, ["sign"])],
    ["TypeError", () => subtle.sign("HMAC", forged, raw)],
    ["TypeError", () => subtle.sign("HMAC", { ...key } as any, raw)],
    ["TypeError", async () => new CryptoKey()],
  ];
  for (const [name, mistake] of mistakes) await assert.rejects(mistake, { name }, mistake.toString());
  key.usages.push("verify");
  await assert.rejects(() => subtle.verify("HMAC", key, raw, raw), { name: "InvalidAccessError" });
});
