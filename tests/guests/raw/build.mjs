/** Makes a component of one JavaScript file, without the SDK: node build.mjs WIT-FOLDER JS OUT.wasm */
import { readFileSync, writeFileSync } from "node:fs";
import { componentize } from "../../../guest_sdk/typescript/node_modules/componentize-qjs/index.js";

const [wit, js, out] = process.argv.slice(2);
const { component } = await componentize({ witPath: wit, jsSource: readFileSync(js, "utf8"), stubWasi: true });
writeFileSync(out, component);
