import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startServing } from "../src/phase.ts";
import { TextDecoder, TextEncoder } from "../src/web/encoding.ts";
import { Headers, headerBlock, headersFromBlock } from "../src/web/headers.ts";
import { format } from "../src/web/inspect.ts";
import { Request } from "../src/web/request.ts";
import { Response } from "../src/web/response.ts";
import { structuredClone } from "../src/web/structured_clone.ts";
import { URL } from "../src/web/url.ts";
import { URLSearchParams } from "../src/web/url_search_params.ts";

const Platform = globalThis as any;
startServing();

const PARTS = [
  "href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin",
] as const;

function assertSameUrl(input: string): void {
  let expected: any;
  try {
    expected = new Platform.URL(input);
  } catch {
    assert.throws(() => new URL(input), TypeError, input);
    return;
  }
  const url = new URL(input);
  for (const part of PARTS) assert.equal(new URL(input)[part], expected[part], `${part} of ${input}`);
  assert.equal(url.pathname, expected.pathname); // and once with a part that was asked before
  assert.equal(url.href, expected.href);
}

test("the fast way through URL gives what a complete parser gives", () => {
  const inputs = [
    "http://a", "http://a/", "http://a:80/", "https://a:443/x", "http://a:8787/x?", "http://a/#", "http://a?x", "http://a#x",
    "http://a/./b", "http://a/../b", "http://a/b/..", "http://a/%2e/b", "http://a/%2E%2e/b", "http://a/b%2ec", "http://a/.x",
    "http://a:0/", "http://a:00080/", "http://a:65535/", "http://a:65536/", "http://1.2/", "http://0x1/", "http://a.1/",
    "http://a.0xg/", "http://xn--a/", "http://xn--bcher-kva.example/", "http://a..b/", "http://a./", "http://-a-/x",
    "HTTP://A/", "http://A/", "http://a\\b", "http://a/b c", "http://a/b^c|d", "http://a/'?'", "http://a/?a[]=1#'x'",
    "http://a_b/", "http://u:p@a/", "http://a/\u00e9?\u00e9#\u00e9", " http://a/ ", "http://a/\tb", "http:a", "http:///a",
    "ftp://a/b", "mailto:x@y", "", "/x", "http://a/x;y=1,2:3@4!$&()*+~", "http://[::1]:8/", "http://a/%", "http://a/?%zz",
  ];
  for (const input of inputs) assertSameUrl(input);
});

test("any URL that is built of likely pieces is parsed alike", () => {
  const host = fc.stringMatching(/^[a-z0-9.\-x]{1,12}$/);
  const rest = fc.array(fc.constantFrom(..."/.%2e?#&=ab;:@'[]^|~ \\é".split("")), { maxLength: 12 });
  const port = fc.oneof(fc.constant(""), fc.integer({ min: 0, max: 70_000 }).map((n) => `:${n}`));
  fc.assert(fc.property(fc.constantFrom("http", "https"), host, port, rest, (scheme, name, number, tail) => {
    assertSameUrl(`${scheme}://${name}${number}/${tail.join("")}`);
  }), { numRuns: 3000 });
});

test("a URL is resolved against a base, and a wrong one is said", () => {
  assert.equal(new URL("../c?d", "http://a:8080/b/x").href, "http://a:8080/c?d");
  assert.throws(() => new URL("/c"), /Invalid URL: \/c/);
  assert.throws(() => new URL("http://a/", "nope"), TypeError);
  assert.equal(URL.parse("nope"), null);
  assert.equal(JSON.stringify({ u: new URL("http://a") }), '{"u":"http://a/"}');
});

test("searchParams and the URL follow each other", () => {
  const url = new URL("http://a/p?x=1&y=2");
  const params = url.searchParams;
  params.append("z", "a b&\u00e9'");
  assert.equal(url.href, "http://a/p?x=1&y=2&z=a+b%26%C3%A9%27");
  params.delete("x");
  params.delete("y");
  params.delete("z");
  assert.equal(url.href, "http://a/p");
  url.search = "?q=%zz+%ff";
  assert.equal(params.get("q"), "%zz \ufffd");
  assert.equal(url.searchParams, params);
  url.href = "http://b/?k=v";
  assert.deepEqual([...params], [["k", "v"]]);
});

test("URLSearchParams writes and reads what the platform writes and reads", () => {
  const pairs = fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.string({ unit: "binary" })), { maxLength: 5 });
  fc.assert(fc.property(pairs, (list) => {
    const expected = new Platform.URLSearchParams(list);
    const params = new URLSearchParams(list);
    assert.equal(params.toString(), expected.toString());
    params.sort();
    expected.sort();
    assert.deepEqual([...params], [...expected]);
  }));
  fc.assert(fc.property(fc.string(), (query) => {
    assert.deepEqual([...new URLSearchParams(query)], [...new Platform.URLSearchParams(query)]);
  }));
});

test("headers of a block are found without parsing it", () => {
  const headers = headersFromBlock("host: a\naccept: x\naccept: y\nset-cookie: a=1\nset-cookie: b=2\nempty: \n");
  assert.equal(headers.get("HOST"), "a");
  assert.equal(headers.get("empty"), "");
  assert.equal(headers.get("hos"), null);
  assert.equal(headers.get("ost"), null);
  assert.equal(headers.get("accept"), "x, y");
  assert.deepEqual(headers.getSetCookie(), ["a=1", "b=2"]);
  assert.deepEqual([...headers.keys()], ["accept", "empty", "host", "set-cookie", "set-cookie"]);
  headers.set("Accept", " z ");
  headers.delete("host");
  assert.equal(headerBlock(headers), "accept: z\nset-cookie: a=1\nset-cookie: b=2\nempty: \n");
});

test("a header cannot smuggle another", () => {
  for (const value of ["a\nb: c", "a\r\nb: c", "a\0", "\u0100"]) {
    assert.throws(() => new Headers({ x: value }), TypeError, JSON.stringify(value));
  }
  for (const name of ["", "a b", "a:", "a\n", "\u00e9"]) assert.throws(() => new Headers({ [name]: "x" }), TypeError);
  assert.equal(new Headers([["a", "\t x\n"]]).get("a"), "x");
});

test("a request copies, overrides and is read once", async () => {
  const request = new Request("http://a/b", { method: "post", body: "text", headers: { a: "1" } });
  assert.deepEqual([request.method, request.headers.get("content-type")], ["POST", "text/plain;charset=UTF-8"]);
  const copy = request.clone();
  assert.equal(await request.text(), "text");
  assert.ok(request.bodyUsed);
  await assert.rejects(() => request.text(), TypeError);
  assert.throws(() => request.clone(), TypeError);
  const other = new Request(copy, { method: "PUT" });
  assert.ok(copy.bodyUsed);
  assert.deepEqual([other.method, await other.text(), other.headers.get("a")], ["PUT", "text", "1"]);
  assert.throws(() => new Request("http://a", { body: "x" }), TypeError);
  assert.throws(() => new Request("/relative"), TypeError);
  assert.throws(() => new Request("http://a", { method: "TRACE" }), TypeError);
});

test("a body keeps its bytes whichever way it is read", async () => {
  const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0xff, 0x41]);
  assert.deepEqual(await new Response(bytes).bytes(), bytes);
  assert.deepEqual(await new Response(bytes.buffer).arrayBuffer(), bytes.buffer);
  assert.equal(await new Response(bytes).text(), "\ufffdA");
  assert.equal(await new Response("\ufeffx").text(), "x");
  assert.deepEqual(await new Response("\u00e9").bytes(), new Uint8Array([0xc3, 0xa9]));
  assert.equal(await new Response("\ud800").text(), "\ufffd");
  const form = new Response(new URLSearchParams({ a: "b c" }));
  assert.equal(form.headers.get("content-type"), "application/x-www-form-urlencoded;charset=UTF-8");
  assert.equal(await form.text(), "a=b+c");
  await assert.rejects(() => new Response("").json(), SyntaxError);
});

test("a response holds HTTP's rules", async () => {
  const json = Response.json({ a: 1 }, { status: 201, headers: { "x-a": "1" } });
  assert.deepEqual([json.status, json.ok, await json.text()], [201, true, '{"a":1}']);
  assert.equal(headerBlock(json.headers), "x-a: 1\ncontent-type: application/json\n");
  assert.throws(() => Response.json(undefined), TypeError);
  for (const status of [199, 600, 200.5, "x" as any]) assert.throws(() => new Response("", { status }), RangeError);
  assert.throws(() => new Response("x", { status: 204 }), TypeError);
  const moved = Response.redirect("http://a/b", 303);
  assert.deepEqual([moved.status, moved.headers.get("location")], [303, "http://a/b"]);
  assert.throws(() => Response.redirect("http://a", 200), RangeError);
  assert.deepEqual([Response.error().status, Response.error().type], [0, "error"]);
});

test("text is coded as the platform codes it, in one piece and in many", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 80 }), (text) => {
    assert.deepEqual(new TextEncoder().encode(text), new Platform.TextEncoder().encode(text));
  }));
  const options = fc.record({ fatal: fc.boolean(), ignoreBOM: fc.boolean() });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), options, (bytes, option) => {
    const run = (Decoder: any) => {
      try {
        return new Decoder("utf-8", option).decode(bytes);
      } catch (error) {
        return (error as Error).constructor.name;
      }
    };
    assert.equal(run(TextDecoder), run(Platform.TextDecoder));
  }));
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.nat(20), (text, at) => {
    const bytes = new Platform.TextEncoder().encode(text);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const both = decoder.decode(bytes.subarray(0, at), { stream: true }) + decoder.decode(bytes.subarray(at));
    assert.equal(both, text.toWellFormed());
  }));
  assert.equal(new TextDecoder("utf-16le").decode(new Uint8Array([0x61, 0, 0x3d, 0xd8])), "a\ufffd");
  assert.equal(new TextDecoder("latin1").decode(new Uint8Array([0x80, 0xe9])), "\u20ac\u00e9");
  assert.throws(() => new TextDecoder("shift_jis"), RangeError);
});

test("structuredClone keeps cycles, shared parts and errors, and refuses functions", () => {
  const shared = { n: 1 };
  const value: any = { a: shared, b: shared, m: new Map([[shared, new Set([1n])]]), e: new RangeError("x") };
  value.self = value;
  const clone = structuredClone(value);
  assert.deepEqual(clone, value);
  assert.ok(clone.self === clone && clone.a === clone.b && clone.a !== shared && clone.e instanceof RangeError);
  assert.throws(() => structuredClone({ f: () => 1 }), { name: "DataCloneError" });
});

test("the log shows values as a person wants to see them", () => {
  const cycle: any = { a: 1 };
  cycle.self = cycle;
  assert.equal(format(["a", 1, "b"]), "a 1 b");
  assert.equal(format(["%s is %d%%, %j", "x", 5, { a: [1] }, "more"]), "x is 5%, { a: [ 1 ] } more");
  assert.equal(format([cycle]), "{ a: 1, self: [Circular] }");
  assert.equal(format([new Map([["k", new Set([1])]])]), 'Map(1) { "k" => Set(1) { 1 } }');
  assert.equal(format([{ get x() { throw new Error("never run"); } }]), "{ x: [Getter] }");
  assert.equal(format([class A {}, () => 1, null, undefined, -0, 5n]), "[class A] [Function (anonymous)] null undefined -0 5n");
  assert.equal(format([[[[[[1]]]]]]), "[ [ [ [ [Array] ] ] ] ]");
  assert.ok(format(["x".repeat(20_000)]).length < 17_000);
});
