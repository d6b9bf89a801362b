/** Whether the module is being built or is serving.
 *
 *  Everything at the top level of a module runs once, when the component is built, and is frozen into a snapshot that
 *  all instances start from. The host cannot be called then, and a random number drawn then would be the same in every
 *  instance. So what needs the host asks `requireServing` first.
 */
let serving = false;

/** Called by every export: from here on the host can be reached. */
export function startServing(): void {
  serving = true;
}

export function isServing(): boolean {
  return serving;
}

/** Raises an Error that tells the author what to do when `what` is used while the module is being built. */
export function requireServing(what: string): void {
  if (serving) return;
  throw new Error(`${what} is not available while the module is being built; call it inside a handler or method`);
}
