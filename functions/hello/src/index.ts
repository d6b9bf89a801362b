/** Greets whoever the path names: `GET /` says hello to the world, `GET /ada` to Ada. */
export default {
  async fetch(req: Request): Promise<Response> {
    if (req.method !== "GET") return new Response("method not allowed", { status: 405, headers: { allow: "GET" } });
    const { pathname } = new URL(req.url);
    let name = "world";
    if (pathname !== "/") {
      try {
        name = decodeURIComponent(pathname.slice(1));
      } catch {
        return new Response("the path is not valid percent-encoded text", { status: 400 });
      }
    }
    return new Response(`hello, ${name}\n`);
  },
};
