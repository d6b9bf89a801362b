/** An actor and a handler that try to take the host with them. `/actors/NAME/METHOD` calls the actor,
 *  `/handler/METHOD` does the same in the handler, and POST `/call` with {binding, name, method, args} calls any.
 *  `/pass/NAME/TIMES` calls an actor so often at once, and catches nothing. `/crowd/FIRST/COUNT/METHOD/ARGUMENT` calls as many
 *  actors at once, and says how many answered. `/parse` reads its body as JSON. */
import { attacks, type Attack } from "./attacks.ts";
import type { Env } from "./actors.ts";

export { Booting, Hostile, Named, Thenable } from "./actors.ts";

const own = new Set(["count", "writeAndSpin", "flood", "alarms", "tiny"]);

async function answer(work: () => unknown): Promise<Response> {
  try {
    return Response.json({ value: await work() });
  } catch (error) {
    const { name, message } = error as Error;
    return Response.json({ error: name, message: message.slice(0, 1_000) }, { status: 500 });
  }
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const [, kind, ...rest] = new URL(req.url).pathname.split("/");
    if (kind === "handler") {
      const found = await (attacks[rest[0] as Attack] as (...args: any[]) => unknown)(...rest.slice(1));
      return found instanceof Response ? found : typeof found === "string" ? new Response(found) : Response.json(found);
    }
    if (kind === "call") {
      const { binding, name, method, args } = await req.json();
      return answer(() => (env as any)[binding].idFromName(name)[method](...args));
    }
    if (kind === "pass") {
      const stub = env.HOSTILE.idFromName(rest[0]!);
      return Response.json(await Promise.all(Array.from({ length: Number(rest[1]) }, () => stub.count())));
    }
    if (kind === "crowd") {
      const [first, count, method, argument] = rest as [string, string, Attack, string];
      const names = Array.from({ length: Number(count) }, (_, number) => `crowd-${Number(first) + number}`);
      const settled = await Promise.allSettled(names.map((name) => env.HOSTILE.idFromName(name).attack(method, argument)));
      return Response.json(settled.filter((one) => one.status === "fulfilled").length);
    }
    if (kind === "parse") return answer(async () => typeof (await req.json()));
    const [name, method, ...args] = rest as [string, string, ...string[]];
    const stub = env.HOSTILE.idFromName(name) as any;
    return answer(() => (own.has(method) ? stub[method](...args.map(Number)) : stub.attack(method, ...args)));
  },
};
