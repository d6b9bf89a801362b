// The entry point exports every actor class, so that it ships with the function.
// The exported class's name equals the type in [[actors]] of telnyx.toml.
export { Counter } from "./counter";

// POST /counters/:name/increment, GET /counters/:name
// `Env` is declared in tenure-env.d.ts, which `tenure types` writes from telnyx.toml.
export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const url = new URL(req.url);
    if (url.pathname === "/health/liveness" || url.pathname === "/health/readiness") return new Response("ok");

    const match = url.pathname.match(/^\/counters\/([^/]+)(\/increment)?$/);
    if (!match) return new Response("not found", { status: 404 });

    const counter = env.COUNTER.idFromName(match[1]!);
    if (match[2] && req.method === "POST") return Response.json(await counter.increment());
    if (!match[2] && req.method === "GET") return Response.json(await counter.value());
    return new Response("method not allowed", { status: 405 });
  },
};
