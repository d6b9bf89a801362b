/** What the guest's engine has and an older node has not: enough of it for the tests. */
const target = Uint8Array as any;
const STRICT = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

target.fromBase64 ??= (text: string, options?: { alphabet?: string }): Uint8Array => {
  if (options?.alphabet === "base64url") {
    if (!/^[\w-]*$/.test(text)) throw new SyntaxError("not base64url");
    text = Buffer.from(text, "base64url").toString("base64");
  }
  if (!STRICT.test(text)) throw new SyntaxError("not base64");
  return new Uint8Array([...atob(text)].map((character) => character.charCodeAt(0)));
};
target.fromHex ??= (text: string): Uint8Array => new Uint8Array(text.match(/../g)!.map((pair) => parseInt(pair, 16)));
target.prototype.toBase64 ??= function (this: Uint8Array, options?: { alphabet?: string }): string {
  return Buffer.from(this).toString(options?.alphabet === "base64url" ? "base64url" : "base64");
};
target.prototype.toHex ??= function (this: Uint8Array): string {
  return [...this].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};
(globalThis as any).Float16Array ??= class Float16Array extends Uint16Array {};
