// Puts the WIT world beside the package's sources, so that the packed tarball builds components on its own.
import { copyFileSync, mkdirSync } from "node:fs";

mkdirSync(new URL("../wit/", import.meta.url), { recursive: true });
copyFileSync(new URL("../../wit/tenure.wit", import.meta.url), new URL("../wit/tenure.wit", import.meta.url));
