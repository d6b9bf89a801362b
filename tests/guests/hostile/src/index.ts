/** An actor and a handler that try to take the host with them. `/actors/NAME/METHOD` calls the actor,
 *  `/handler/METHOD` does the same in the handler. */
import { StatefulActor, type ActorNamespace } from "@tenure/edge-runtime";

const attacks = {
  spin(): never {
    for (;;);
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
};

type Attack = keyof typeof attacks;

export class Hostile extends StatefulActor {
  async spin() {
    return attacks.spin();
  }
  async recurse() {
    return attacks.recurse();
  }
  async hoard() {
    return attacks.hoard();
  }
  async storm() {
    return attacks.storm();
  }
  async fork() {
    return attacks.fork();
  }
  async regexp() {
    return attacks.regexp();
  }
  async timers() {
    return attacks.timers();
  }
  /** Writes, then attacks: nothing of the turn may stay. */
  async writeAndSpin() {
    await this.ctx.storage.put("count", 1_000_000);
    return attacks.spin();
  }
  async count() {
    const next = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", next);
    return next;
  }
}

interface Env {
  HOSTILE: ActorNamespace<Hostile>;
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const [, kind, ...rest] = new URL(req.url).pathname.split("/");
    if (kind === "handler") return Response.json(await attacks[rest[0] as Attack]());
    const [name, method] = rest as [string, Attack | "count" | "writeAndSpin"];
    try {
      return Response.json({ value: await env.HOSTILE.idFromName(name)[method]() });
    } catch (error) {
      const { name: kind, message } = error as Error;
      return Response.json({ error: kind, message }, { status: 500 });
    }
  },
};
