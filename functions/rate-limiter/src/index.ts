/**
 * A function that answers each client only so often: the client is who its `x-api-key` says.
 *
 * Here any key is taken; one that lets clients invent keys limits nobody, so check the key first.
 */
import type { ActorNamespace } from "@tenure/edge-runtime";
import type { Bucket } from "./bucket";

export { Bucket } from "./bucket";

interface Env {
  BUCKET: ActorNamespace<Bucket>;
  BURST: string;
  REFILL_SECONDS: string;
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const key = req.headers.get("x-api-key");
    if (!key || key.length > 200) return Response.json({ error: "send your key as x-api-key" }, { status: 401 });

    const limit = { burst: Number(env.BURST), refillMs: Number(env.REFILL_SECONDS) * 1000 };
    const verdict = await env.BUCKET.idFromName(key).take(limit);
    if (!verdict.allowed) {
      const seconds = Math.ceil(verdict.waitMs / 1000); // Retry-After knows whole seconds; less would be too early
      const headers = { "retry-after": String(seconds) };
      return Response.json({ error: `too many requests: wait ${seconds} s` }, { status: 429, headers });
    }
    // here the function does its work
    return Response.json({ answer: 42, remaining: verdict.remaining });
  },
};
