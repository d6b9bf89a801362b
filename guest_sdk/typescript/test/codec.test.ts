import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { DEPTH_MAX, decode, encode, encodeArguments } from "../src/codec.ts";
import { CodecError } from "../src/errors.ts";

interface Vectors {
  values: { name: string; value: string; text: string; reads?: true; writes?: true }[];
  refused: { name: string; text: string }[];
  unsendable: { name: string; value: string; place: string }[];
}

const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../conformance/codec.json"), "utf8"),
) as Vectors;

const evaluate = (expression: string): unknown => (0, eval)(`(${expression})`);

/** Invalid dates are not equal for node's assert. */
function assertSame(actual: unknown, expected: unknown): void {
  if (expected instanceof Date && Number.isNaN(expected.getTime())) {
    assert.ok(actual instanceof Date && Number.isNaN(actual.getTime()));
  } else {
    assert.deepStrictEqual(actual, expected);
  }
}

for (const { name, value, text, reads, writes } of vectors.values) {
  test(`${name}: written as the vector says, and read back`, () => {
    if (reads !== true) assert.equal(encode(evaluate(value)), text);
    if (writes !== true) assertSame(decode(text), evaluate(value));
  });
}

for (const { name, text } of vectors.refused) {
  test(`${name}: not read`, () => {
    assert.throws(() => decode(text), (error) => error instanceof CodecError && error.name === "CodecError");
  });
}

for (const { name, value, place } of vectors.unsendable) {
  test(`${name}: refused at ${place}`, () => {
    assert.throws(() => encode(evaluate(value)), (error) => {
      assert.ok(error instanceof CodecError, String(error));
      assert.ok(error.message.startsWith(`${place} cannot be sent or stored: `), error.message);
      return true;
    });
  });
}

const leaf = fc.oneof(
  fc.constant(undefined), fc.constant(null), fc.boolean(), fc.double(), fc.bigInt(), fc.string({ unit: "binary" }),
  fc.date({ noInvalidDate: true }), fc.uint8Array(), fc.int16Array(), fc.float64Array(),
);
const key = fc.oneof(fc.string(), fc.constantFrom("$", "$date", "$object", "__proto__", "toJSON", "then", "0"));
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, leaf, tie("list"), tie("object"), tie("map"), tie("set")),
  list: fc.array(tie("value")),
  object: fc.array(fc.tuple(key, tie("value"))).map((pairs) => Object.fromEntries(pairs)),
  map: fc.array(fc.tuple(tie("value"), tie("value"))).map((pairs) => new Map(pairs)),
  set: fc.array(tie("value")).map((items) => new Set(items)),
}));

test("any value comes back as it was, and is written the same again", () => {
  fc.assert(fc.property(value, (one) => {
    const text = encode(one);
    const read = decode(text);
    assert.deepStrictEqual(read, one);
    assert.equal(encode(read), text);
    assert.ok(text.isWellFormed());
  }), { numRuns: 2000 });
});

test("what is plain JSON is written as JSON.stringify writes it, however small", () => {
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((one) => !Object.is(one, -0));
  const scalar = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), number, fc.boolean(), fc.constant(null));
  const name = fc.oneof(fc.string(), fc.constantFrom("balance", "ok", "", '"', "0", "__proto__"));
  const pairs = fc.array(fc.tuple(name.filter((one) => !one.startsWith("$")), scalar), { maxLength: 6 });
  fc.assert(fc.property(pairs, (list) => {
    const one = Object.fromEntries(list);
    for (const again of [encode(one), encode(one)]) assert.equal(again, JSON.stringify(one));
  }), { numRuns: 2000 });
});

test("a list of arguments is written as the array it is", () => {
  fc.assert(fc.property(fc.array(value, { maxLength: 4 }), (list) => {
    assert.equal(encodeArguments(list), encode(list));
  }), { numRuns: 1000 });
  assert.throws(() => encodeArguments([1, { a: () => 1 }]), /^CodecError: \$\[1\]\.a cannot be sent/);
});

test("any JSON text is read or refused, and never anything else", () => {
  fc.assert(fc.property(fc.json(), (text) => {
    try {
      decode(text);
    } catch (error) {
      assert.ok(error instanceof CodecError);
    }
  }));
});

test("a value nested to the limit crosses, one level more is refused", () => {
  const nested = (depth: number): unknown => (depth === 0 ? [] : [nested(depth - 1)]);
  const text = encode(nested(DEPTH_MAX - 1));
  assert.equal(encode(decode(text)), text);
  assert.throws(() => encode(nested(DEPTH_MAX)), CodecError);
});
