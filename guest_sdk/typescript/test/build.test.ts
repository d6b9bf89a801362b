import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const BUILD = join(import.meta.dirname, "../../build.mjs");
const folder = mkdtempSync(join(tmpdir(), "tenure-build-"));
after(() => rmSync(folder, { recursive: true }));

function build(source: string, name = "index.ts") {
  mkdirSync(join(folder, "src"), { recursive: true });
  writeFileSync(join(folder, "telnyx.toml"), `name = "x"\nmain = "src/${name}"\n[other]\nmain = "no"\n`);
  writeFileSync(join(folder, "src", name), source);
  return spawnSync("node", [BUILD, "--project", folder, "--out", join(folder, "out.wasm")], { encoding: "utf8" });
}

const mistakes: [name: string, source: string, expected: RegExp][] = [
  ["a syntax error", "let y: = 1", /^src\/index\.ts:1:8: Unexpected "="\n$/],
  ["a module that is not there", 'import x from "node:fs"; export { x }', /^src\/index\.ts:1:15: Could not resolve/],
  ["a name the SDK has not", 'import { x } from "@telnyx/edge-runtime"; x()', /"@tenure\/edge-runtime" for import "x"/],
  ["nothing to serve", "export default 5", /^the module threw .*: the entry module has nothing to/],
  ["a throw at the top level", "\n\nthrow new Error('no');", /^src\/index\.ts:3:\d+: the module threw .*: no\n$/],
  ["randomness at the top level", "Math.random()", /^src\/index\.ts:1:\d+: .*Math\.random is not available while/],
  ["a promise that never settles", "await new Promise(() => {})", /^the module never finishes/],
];

for (const [name, source, expected] of mistakes) {
  test(`${name} is told with its place and leaves no component`, () => {
    const { status, stderr } = build(source);
    assert.equal(status, 1);
    assert.match(stderr, expected);
    assert.ok(!existsSync(join(folder, "out.wasm")));
  });
}

test("a JavaScript project builds, with its source map beside it and progress as JSON", () => {
  assert.equal(build("export default { fetch() { return new Response('x') } }", "index.js").status, 0);
  const map = JSON.parse(readFileSync(join(folder, "out.wasm.map"), "utf8")) as { sources: string[] };
  assert.ok(map.sources.includes("src/index.js"));
  const output = execFileSync(
    "node", [BUILD, "--project", folder, "--out", join(folder, "out.wasm"), "--json"], { encoding: "utf8" },
  );
  const steps = output.trim().split("\n").map((line) => JSON.parse(line) as { step: string });
  assert.deepEqual(steps.map((one) => one.step), ["bundle", "component"]);
});
