/** Gives a host something to see: lines, errors, calls of an actor, requests to the outside. */
import { deepest } from "./helper.ts";

export { Counter } from "./counter.ts";

function refuse(what: string): never {
  throw new TypeError(`no ${what}`);
}

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    const url = new URL(request.url);
    const [, word, name] = url.pathname.split("/");
    switch (word) {
      case "say":
        console.warn(url.searchParams.get("text"));
        return new Response("said");
      case "add":
        return Response.json(await env.COUNTER.idFromName(name).add(1));
      case "refuse":
        return Response.json(await env.COUNTER.idFromName(name).refuse());
      case "deep":
        return deepest({ url });
      case "throw":
        return refuse("way");
      case "fetch":
        return new Response(await (await fetch(url.searchParams.get("url")!)).text());
      default:
        return Response.json({ traceparent: request.headers.get("traceparent") });
    }
  },
};
