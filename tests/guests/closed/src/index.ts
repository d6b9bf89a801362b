/** Fetches the URL that is posted, with a manifest that allows nothing, and answers with the status or the error. */
export default {
  async fetch(req: Request): Promise<Response> {
    try {
      return Response.json({ status: (await fetch(await req.text())).status });
    } catch (error) {
      return Response.json({ error: (error as Error).name, message: (error as Error).message });
    }
  },
};
