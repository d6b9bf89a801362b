import { StatefulActor } from "@tenure/edge-runtime";

export interface Limit {
  /** Tokens in a full bucket. */
  readonly burst: number;
  /** Milliseconds until one more token is in it. */
  readonly refillMs: number;
}

export type Verdict =
  | { readonly allowed: true; /** Tokens left. */ readonly remaining: number }
  | { readonly allowed: false; /** Milliseconds until the next token. */ readonly waitMs: number };

/**
 * The token bucket of one client.
 *
 * What it stores is one number: the time at which it will be full again. Each token taken moves that time on by
 * `refillMs`; the bucket is empty when it is `burst` times `refillMs` away. So nothing has to be refilled by a timer,
 * and there are no fractions of tokens to round.
 */
export class Bucket extends StatefulActor {
  /** Takes a token if there is one. Calls run one at a time, so a token cannot be taken twice. */
  async take({ burst, refillMs }: Limit): Promise<Verdict> {
    const now = Date.now();
    const stored = await this.ctx.storage.get<number>("fullAt");
    const fullAt = Math.max(stored ?? 0, now) + refillMs;
    const spareMs = burst * refillMs - (fullAt - now);
    if (spareMs < 0) return { allowed: false, waitMs: -spareMs };

    await this.ctx.storage.put("fullAt", fullAt);
    if (stored === undefined) await this.ctx.setAlarm(fullAt);
    return { allowed: true, remaining: Math.floor(spareMs / refillMs) };
  }

  /** A full bucket needs no memory: without this, each client that ever came would leave a number behind. */
  override async alarm(): Promise<void> {
    const fullAt = (await this.ctx.storage.get<number>("fullAt")) ?? 0;
    if (fullAt > Date.now()) await this.ctx.setAlarm(fullAt);
    else await this.ctx.storage.deleteAll();
  }
}
