/** Reaches the actors of a type that another function owns. */
export default {
  async fetch(request: Request, env: any): Promise<Response> {
    const [, account] = new URL(request.url).pathname.split("/");
    const stub = env.SHARED.idFromName(account);
    try {
      return Response.json(request.method === "POST" ? await stub.deposit(1) : await stub.look());
    } catch (error: any) {
      return Response.json({ name: error.name, message: error.message }, { status: 500 });
    }
  },
};
