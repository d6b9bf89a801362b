import { StatefulActor, type ActorNamespace } from "@tenure/edge-runtime";

const PAGE = 1000;

interface Audit {
  balance: number;
  /** Each request that was applied, and how many times. */
  applied: [id: string, times: number][];
}

/** An account that remembers which requests it applied, and how often: nothing here hides a request that came twice. */
export class Ledger extends StatefulActor {
  async post(id: string, amount: number): Promise<{ ok: boolean; balance: number }> {
    const { storage } = this.ctx;
    const before = (await storage.get<number>("balance")) ?? 0;
    if (before + amount < 0) return { ok: false, balance: before };
    const times = (await storage.get<number>(`id/${id}`)) ?? 0;
    await storage.put({ balance: before + amount, [`id/${id}`]: times + 1 });
    return { ok: true, balance: before + amount };
  }

  /** A page of the requests whose ids begin with `prefix`, those after the id `after`. */
  async audit(prefix: string, after: string): Promise<Audit> {
    const { storage } = this.ctx;
    const from = after === "" ? {} : { startAfter: `id/${after}` };
    const found = await storage.list<number>({ prefix: `id/${prefix}`, limit: PAGE, ...from });
    const applied = [...found].map(([key, times]): [string, number] => [key.slice("id/".length), times]);
    return { balance: (await storage.get<number>("balance")) ?? 0, applied };
  }
}

/** Rings once after it was set; it counts how often it did. */
export class Bell extends StatefulActor {
  async set(inMs: number): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + inMs);
  }

  async alarm(): Promise<void> {
    await this.ctx.storage.put("rung", (await this.rung()) + 1);
  }

  async rung(): Promise<number> {
    return (await this.ctx.storage.get<number>("rung")) ?? 0;
  }
}

interface Env {
  LEDGER: ActorNamespace<Ledger>;
  BELL: ActorNamespace<Bell>;
}

/**
 *     POST /ledgers/NAME/ID?amount=N    GET /ledgers/NAME?prefix=P&after=ID
 *     POST /bells/NAME?in=MS            GET /bells/NAME
 */
export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(req.url);
    const [, kind, name, id] = pathname.split("/");
    if (name === undefined) return new Response("not found", { status: 404 });
    const posts = req.method === "POST";
    if (kind === "ledgers") {
      const ledger = env.LEDGER.idFromName(name);
      if (posts) return Response.json(await ledger.post(id!, Number(searchParams.get("amount"))));
      return Response.json(await ledger.audit(searchParams.get("prefix") ?? "", searchParams.get("after") ?? ""));
    }
    const bell = env.BELL.idFromName(name);
    if (posts) await bell.set(Number(searchParams.get("in")));
    return Response.json({ rung: posts ? 0 : await bell.rung() });
  },
};
