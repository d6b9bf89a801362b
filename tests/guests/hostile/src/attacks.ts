/** What a guest may try without any help of its host: the same for an actor and for a handler. */

const prototypes: Record<string, () => void> = {
  Array() {
    for (const name of ["push", "map", "join", Symbol.iterator]) (Array.prototype as any)[name] = () => "mine";
  },
  Object() {
    (Object.prototype as any).toJSON = () => "mine";
    Object.defineProperty(Object.prototype, "then", { get: () => (done: any) => done("mine") });
  },
  Promise() {
    Promise.prototype.then = (() => "mine") as any;
  },
  JSON() {
    JSON.stringify = () => '"mine"';
    JSON.parse = () => "mine";
  },
  Map() {
    Map.prototype.get = Map.prototype.set = Map.prototype.delete = (() => "mine") as any;
  },
};

export const attacks = {
  spin(): never {
    for (;;);
  },
  /** Busy for a while, then done: `ms` by the guest's own clock. */
  burn(ms: number | string): string {
    const until = Date.now() + Number(ms);
    while (Date.now() < until);
    return "burned";
  },
  /** Busy for so many steps, however long they take. */
  work(steps: number | string): number {
    let sum = 0;
    for (let step = 0; step < Number(steps); step++) sum = (sum + step * 7) % 1_000_003;
    return sum;
  },
  recurse(): number {
    const deeper = (n: number): number => deeper(n + 1) + 1;
    return deeper(0);
  },
  hoard(): never {
    const kept: Uint8Array[] = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(kept.length & 255));
  },
  async storm(): Promise<never> {
    for (;;) await null;
  },
  async fork(): Promise<never> {
    const breed = async (): Promise<void> => {
      await null;
      void breed();
      void breed();
    };
    void breed();
    for (;;) await null;
  },
  regexp(): boolean {
    return /^(a+)+$/.test("a".repeat(40) + "b");
  },
  timers(): Promise<never> {
    for (;;) setTimeout(() => {}, 1_000_000);
  },
  never(): Promise<never> {
    return new Promise(() => {});
  },
  sleep(): Promise<void> {
    return new Promise((done) => setTimeout(done, 20_000));
  },
  lines(count = 10_000): number {
    for (let line = 0; line < count; line++) console.log(`line ${line}`);
    return count;
  },
  logFlood(): never {
    for (;;) console.error("x".repeat(1_000));
  },
  giantError(): never {
    throw new Error("x".repeat(12 << 20));
  },
  giantText(): string {
    return "x".repeat(11 << 20);
  },
  giantHeader(): Response {
    return new Response("", { headers: { "x-giant": "x".repeat(100_000) } });
  },
  /** Leaves the engine's own objects broken in this instance, and says "done" if it still can. */
  pollute(what: string): string {
    prototypes[what]!();
    return "done";
  },
};

export type Attack = keyof typeof attacks;
