/** What a build's entry imports first: installs the globals, then gives the entry its exports. */
import "./web/globals.ts";

export { guestOf } from "./guest.ts";
