/** Throws from a file of its own, some lines below its beginning. */

interface Asked {
  url: URL;
}

export function deepest(asked: Asked): never {
  const word = asked.url.pathname;
  throw new RangeError(`nothing is below ${word}`);
}
