/** Named counters: `GET /visits` reads one, `POST /visits` adds 1 (or `?by=5`), `DELETE /visits` sets it back to 0. */
import type { ActorNamespace } from "@tenure/edge-runtime";
import type { Counter } from "./counter";

export { Counter } from "./counter";

interface Env {
  COUNTER: ActorNamespace<Counter>;
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const url = new URL(req.url);
    const name = url.pathname.slice(1);
    if (name === "") return Response.json({ error: "name a counter, as in /visits" }, { status: 404 });

    const counter = env.COUNTER.idFromName(name);
    switch (req.method) {
      case "GET":
        return Response.json({ name, value: await counter.value() });
      case "POST": {
        const by = Number(url.searchParams.get("by") ?? 1);
        if (!Number.isSafeInteger(by)) return Response.json({ error: "by must be a whole number" }, { status: 400 });
        return Response.json({ name, value: await counter.add(by) });
      }
      case "DELETE":
        await counter.reset();
        return Response.json({ name, value: 0 });
      default:
        return Response.json({ error: "use GET, POST or DELETE" }, { status: 405 });
    }
  },
};
