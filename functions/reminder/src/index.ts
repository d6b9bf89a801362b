/**
 * Reminders that fire by themselves, at the time they were given.
 *
 *     POST /ada {"text": "tea is ready", "at": "2030-01-01T12:00:00Z"}
 *     GET  /ada      what is pending, what is done, and how many fired
 */
import type { ActorNamespace } from "@tenure/edge-runtime";
import { PENDING_MAX, type Reminders } from "./reminders";

export { Reminders } from "./reminders";

interface Env {
  REMINDERS: ActorNamespace<Reminders>;
}

const TEXT_CHARS_MAX = 500;

function refuse(error: string, status = 400): Response {
  return Response.json({ error }, { status });
}

/** The time that `text` names, with its offset or Z: without one it would be read as the host's local time. */
function timeOf(text: unknown): Date | undefined {
  if (typeof text !== "string" || !/^\d{4}-.*T.*(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const at = new Date(text);
  return at.getTime() >= 0 ? at : undefined; // a time that is none is NaN, which is not
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const name = new URL(req.url).pathname.match(/^\/([\w-]{1,64})$/)?.[1];
    if (name === undefined) return refuse("use /NAME, where NAME is letters, digits, _ and -", 404);
    const reminders = env.REMINDERS.idFromName(name);

    if (req.method === "GET") return Response.json(await reminders.overview());
    if (req.method !== "POST") return refuse("use GET or POST", 405);

    // what arrives is whatever the client sent; an empty object stands for a body that is not JSON
    const body = ((await req.json().catch(() => null)) ?? {}) as { text?: unknown; at?: unknown };
    if (typeof body.text !== "string" || body.text === "" || body.text.length > TEXT_CHARS_MAX) {
      return refuse(`text must be text of 1 to ${TEXT_CHARS_MAX} characters`);
    }
    const at = timeOf(body.at);
    if (at === undefined) return refuse('at must be a time such as "2030-01-01T12:00:00Z"');

    const reminder = await reminders.add(body.text, at); // a time that has passed fires at once
    if (reminder === undefined) return refuse(`${PENDING_MAX} reminders are pending; no more fit`, 409);
    return Response.json(reminder, { status: 201 });
  },
};
