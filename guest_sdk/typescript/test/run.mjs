/** Bundles test/*.test.ts with the SDK's sources and runs them under node: the parts that are pure.
 *
 *  The host's imports are the ones in test/host.ts. What only a real guest can show is in test_guest.py.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = join(here, "..", "dist", "test");
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));

const hostImports = {
  name: "host imports",
  setup(pluginBuild) {
    pluginBuild.onResolve({ filter: /^tenure:edge\// }, () => ({ path: join(here, "host.ts") }));
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: tests.map((name) => join(here, name)),
  outdir,
  outExtension: { ".js": ".mjs" },
  inject: [join(here, "engine.ts")],
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  keepNames: true,
  sourcemap: "inline",
  plugins: [hostImports],
  external: ["fast-check"],
});
const files = tests.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...files], { stdio: "inherit" });
process.exitCode = status ?? 1;
