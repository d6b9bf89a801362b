/** Checks of the texts by which things are named: storage keys and actor names. */

/** `value`, when it is a non-empty text whose UTF-8 has at most `bytesMax` bytes. Raises TypeError or RangeError. */
export function checkedText(value: unknown, what: string, bytesMax: number): string {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string`);
  if (value === "") throw new TypeError(`${what} must not be empty`);
  if (!value.isWellFormed()) throw new TypeError(`${what} has half of a surrogate pair, which is not UTF-8`);
  // a UTF-16 unit is at most three bytes of UTF-8, so short texts need no count
  if (value.length * 3 > bytesMax && utf8Length(value) > bytesMax) {
    throw new RangeError(`${what} must have at most ${bytesMax} bytes of UTF-8`);
  }
  return value;
}

/** How many bytes the UTF-8 of a well-formed text has. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}
