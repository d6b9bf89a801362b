// functions/account and functions/hello as a Worker with a Durable Object: the same replies, byte for byte.
import { DurableObject } from "cloudflare:workers";

export class Account extends DurableObject {
  async deposit(amount) {
    const next = ((await this.ctx.storage.get("balance")) ?? 0) + amount;
    await this.ctx.storage.put("balance", next);
    return { balance: next };
  }

  async debit(amount) {
    const balance = (await this.ctx.storage.get("balance")) ?? 0;
    if (balance < amount) return { ok: false, balance };
    await this.ctx.storage.put("balance", balance - amount);
    return { ok: true, balance: balance - amount };
  }

  async balance() {
    return { balance: (await this.ctx.storage.get("balance")) ?? 0 };
  }
}

const notFound = () => new Response("not found", { status: 404 });

async function change(id, action, request, stub) {
  const body = await request.json().catch(() => ({}));
  if (typeof body.amount !== "number") {
    return Response.json({ error: "amount (number) required" }, { status: 400 });
  }
  return Response.json({ account: id, ...(await stub[action](body.amount)) });
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/hello") return new Response("hello");
    const route = pathname.match(/^\/accounts\/([^/]+)\/(deposit|debit|balance)$/);
    if (!route) return notFound();
    const [, id, action] = route;
    const stub = env.ACCOUNT.get(env.ACCOUNT.idFromName(id));
    if (action === "balance") {
      if (request.method !== "GET") return notFound();
      return Response.json({ account: id, ...(await stub.balance()) });
    }
    return request.method === "POST" ? change(id, action, request, stub) : notFound();
  },
};
