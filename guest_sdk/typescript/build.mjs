#!/usr/bin/env node
/** tenure-build: turns a project's sources into one WebAssembly component.
 *
 *      tenure-build --project DIR --out FILE [--main src/index.ts] [--opt-size] [--json]
 *
 *  Two steps: esbuild makes one JavaScript file of the project and the SDK; componentize-qjs runs its top level and
 *  freezes the result, engine and all, into a component of the world in tenure.wit. The source map is in a custom section of the
 *  component, and beside it at FILE.map. Progress goes to stdout, one line a step (with --json one object a line:
 *  {"step","ms","bytes"}, or {"error":[...]}); mistakes go to stderr as `file:line:column: what is wrong`, exit code 1.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(realpathSync(fileURLToPath(import.meta.url)));
/** How long the top level of a module may run. */
const START_S_MAX = 60;
const MANIFESTS = ["tenure.toml", "telnyx.toml"];
/** Read by host/registry/sourcemap.py. */
const MAP_SECTION = "tenure:sourcemap";
const MODULE_NAMES = ["@tenure/edge-runtime", "@telnyx/edge-runtime"];

/** A mistake of the project, told to its author: `lines` are complete sentences or `file:line:column: text`. */
export class BuildError extends Error {
  constructor(lines) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/** The WIT world: in the folder above in the repository (a copy beside this file may be stale), else in the tarball. */
function witPath() {
  return [join(HERE, "..", "wit"), join(HERE, "wit")].find((path) => existsSync(join(path, "tenure.wit")));
}

/** `main` of the project's manifest: a string at the top level, so one line of TOML. */
function mainOf(project) {
  const manifest = MANIFESTS.map((name) => join(project, name)).find(existsSync);
  if (manifest === undefined) throw new BuildError([`${project} has neither ${MANIFESTS.join(" nor ")}`]);
  const top = readFileSync(manifest, "utf8").split(/^\s*\[/m)[0];
  const main = /^\s*main\s*=\s*(?:"([^"\n]*)"|'([^'\n]*)')/m.exec(top);
  if (main === null) throw new BuildError([`${manifest} has no main; add a line such as main = "src/index.ts"`]);
  return main[1] ?? main[2];
}

/** One ES module of everything, whose only imports are the host's. */
async function bundle(project, main) {
  const { build } = await import("esbuild");
  const runtime = join(HERE, "src", "index.ts");
  const entry = `
    import { guestOf } from ${JSON.stringify(join(HERE, "src", "main.ts"))};
    import * as module from ${JSON.stringify(main)};
    export const guest = guestOf(module);
  `;
  try {
    const result = await build({
      stdin: { contents: entry, resolveDir: project, sourcefile: "tenure-entry.js", loader: "js" },
      absWorkingDir: project,
      outfile: "component.js",
      write: false,
      bundle: true,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["module", "worker", "import"],
      target: "es2023",
      alias: Object.fromEntries(MODULE_NAMES.map((name) => [name, runtime])),
      external: ["tenure:*"],
      // names stay, because errors, stacks and actor types are known by them
      minifyWhitespace: true,
      minifySyntax: true,
      keepNames: true,
      sourcemap: "external",
      sourcesContent: false,
      legalComments: "none",
      logLevel: "silent",
    });
    const [map, code] = ["component.js.map", "component.js"].map((name) =>
      result.outputFiles.find((file) => file.path.endsWith(name)));
    return { code: code.text, map: map.text, warnings: result.warnings.map(messageLine) };
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    const shown = JSON.stringify(relative(project, runtime));
    throw new BuildError(error.errors.map((one) => messageLine(one).replace(shown, JSON.stringify(MODULE_NAMES[0]))));
  }
}

function messageLine({ text, location }) {
  return location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text;
}

/** The component: the engine with the bundle's top level already run. */
async function snapshot({ code, map }, project, optSize) {
  const { componentize } = await import("componentize-qjs");
  const options = { witPath: witPath(), world: "function", jsSource: code, stubWasi: true, optSize };
  let timer;
  const overdue = new Promise((_, reject) => {
    const line = `the module is still running after ${START_S_MAX} s: its top level never ends`;
    timer = setTimeout(() => reject(new BuildError([line])), START_S_MAX * 1000);
  });
  try {
    return (await Promise.race([componentize(options), overdue])).component;
  } catch (error) {
    if (error instanceof BuildError) throw error;
    throw new BuildError([startMessage(String(error.message ?? error), new SourceMap(JSON.parse(map)), project)]);
  } finally {
    clearTimeout(timer);
  }
}

/** What the top level of the module threw, and where in the project, without the tool's own words around it. */
function startMessage(text, map, project) {
  if (text.includes("blocking on a promise")) {
    return "the module never finishes: its top level awaits a promise that nothing settles while it is being built";
  }
  if (text.includes("wasm backtrace")) {
    return "the module crashed while it was being built: its top level recurses without end or runs out of memory";
  }
  const [message, ...stack] = text.trim().split("\n");
  const thrown = message.replace(/^.*?JavaScript module evaluation: (?:Error: ?)?/, "");
  for (const frame of stack) {
    const at = /:(\d+):(\d+)\)?$/.exec(frame);
    const found = at === null ? {} : map.findEntry(Number(at[1]) - 1, Number(at[2]) - 1);
    if (found.originalSource === undefined || found.originalSource === "tenure-entry.js") continue;
    const file = resolve(project, found.originalSource);
    if (file.startsWith(join(HERE, "src"))) continue; // a frame of the SDK: its caller is the author's
    const place = `${relative(project, file)}:${found.originalLine + 1}:${found.originalColumn + 1}`;
    return `${place}: the module threw while it was being built: ${thrown}`;
  }
  return `the module threw while it was being built: ${thrown}`;
}

/** The component with its source map in a custom section, of which the host shows stacks. Paths are the project's; those
 *  of the SDK begin with its name, those outside of both are left without their folders. */
function withMap(component, map, project) {
  const { version, sources, mappings } = JSON.parse(map);
  const shown = sources.map((source) => {
    const file = resolve(project, source);
    const inside = relative(project, file);
    if (file.startsWith(join(HERE, "/"))) return `${MODULE_NAMES[0]}/${relative(HERE, file)}`;
    return inside.startsWith("..") ? basename(file) : inside;
  });
  const data = Buffer.from(JSON.stringify({ version, sources: shown, mappings }));
  const name = Buffer.from(MAP_SECTION);
  const size = 1 + name.length + data.length;
  return Buffer.concat([component, Buffer.from([0, ...leb128(size), name.length]), name, data]);
}

/** An unsigned number as WebAssembly writes it. */
function leb128(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

/** Builds `project` into the file `out` and its map. `report(step, ms, bytes)` hears of each step. */
export async function buildProject({ project, out, main, optSize = false, report = () => {} }) {
  const folder = resolve(project);
  const entry = resolve(folder, main ?? mainOf(folder));
  if (!existsSync(entry)) throw new BuildError([`main is ${relative(folder, entry)}, and there is no such file`]);

  let started = performance.now();
  const bundled = await bundle(folder, entry);
  report("bundle", performance.now() - started, Buffer.byteLength(bundled.code));

  started = performance.now();
  const component = await snapshot(bundled, folder, optSize);
  mkdirSync(dirname(resolve(out)), { recursive: true });
  const shipped = withMap(component, bundled.map, folder);
  writeFileSync(out, shipped);
  writeFileSync(`${out}.map`, bundled.map);
  report("component", performance.now() - started, shipped.length);
  return { warnings: bundled.warnings, bytes: shipped.length };
}

const LABELS = { bundle: "bundled", component: "built the component" };

function textReport(step, ms, bytes) {
  console.log(`${LABELS[step]} in ${(ms / 1000).toFixed(2)} s, ${Math.ceil(bytes / 1024).toLocaleString("en")} KiB`);
}

function jsonReport(step, ms, bytes) {
  console.log(JSON.stringify({ step, ms: Math.round(ms), bytes }));
}

async function main() {
  let options;
  try {
    options = parseArgs({
      options: {
        project: { type: "string", default: "." },
        out: { type: "string" },
        main: { type: "string" },
        "opt-size": { type: "boolean", default: false },
        json: { type: "boolean", default: false },
      },
    }).values;
    if (options.out === undefined) throw new Error("--out FILE is missing");
  } catch (error) {
    console.error(`${error.message}\nusage: tenure-build --project DIR --out FILE [--main FILE] [--opt-size] [--json]`);
    return 2;
  }
  try {
    const { warnings } = await buildProject({
      ...options, optSize: options["opt-size"], report: options.json ? jsonReport : textReport,
    });
    for (const line of warnings) console.error(`warning: ${line}`);
    return 0;
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    if (options.json) console.log(JSON.stringify({ error: error.lines }));
    for (const line of error.lines) console.error(line);
    return 1;
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === join(HERE, "build.mjs")) {
  process.exit(await main()); // a module that never ends keeps a thread of its own busy
}
