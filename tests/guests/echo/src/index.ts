/** Answers with what it was asked, and with every kind of reply a handler can give, good or bad. */
type Answer = (req: Request, url: URL) => unknown;

const answers: Record<string, Answer> = {
  /** The request as the guest sees it. */
  "/request": async (req) =>
    Response.json({ method: req.method, url: req.url, headers: [...req.headers], body: await req.text() }),
  /** The body, byte for byte. */
  "/bytes": async (req) =>
    new Response(await req.bytes(), { headers: { "content-type": "application/octet-stream" } }),
  "/text": async (req) => new Response(await req.text()),
  /** A body of ?size= letters. */
  "/letters": (_req, url) => new Response("x".repeat(Number(url.searchParams.get("size")))),
  "/cookies": () => {
    const headers = new Headers({ "x-one": "1" });
    for (const cookie of ["a=1; Path=/", "b=2", "a=3"]) headers.append("set-cookie", cookie);
    return new Response("cookies", { headers });
  },
  "/status": (_req, url) => new Response(null, { status: Number(url.searchParams.get("code")) }),
  "/redirect": (req) => Response.redirect(new URL("/text", req.url), 307),
  "/framing": () =>
    new Response("true", { headers: { "content-length": "999", connection: "close", "x-request-id": "forged" } }),
  "/throw": () => {
    throw new TypeError("secret 42");
  },
  "/reject": () => Promise.reject(new Error("secret 42")),
  "/throw-string": () => {
    throw "secret 42";
  },
  "/not-a-response": () => ({ status: 200, body: "no" }),
  "/nothing": () => undefined,
  "/never": () => new Promise(() => {}),
  "/slow": (_req, url) =>
    new Promise((resolve) => setTimeout(() => resolve(new Response("slow")), Number(url.searchParams.get("ms")))),
};

export default {
  fetch(req: Request): unknown {
    const url = new URL(req.url);
    const answer = answers[url.pathname];
    return answer ? answer(req, url) : new Response("not found", { status: 404 });
  },
};
