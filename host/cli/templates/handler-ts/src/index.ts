export default {
  async fetch(req: Request): Promise<Response> {
    const url = new URL(req.url);
    const name = url.searchParams.get("name") ?? "world";
    return Response.json({ message: `Hello, ${name}!` });
  },
};
