/**
 * Chat rooms, each with a log of its last messages.
 *
 *     POST /rooms/tea/messages {"author", "text"}     says something
 *     GET  /rooms/tea/messages?limit=20               the latest messages
 *     GET  /rooms/tea/messages?after=7&limit=20       what was said after message 7
 *
 * A page says in `next` where to read on: ask again with `after={next}`, at once while pages are full, later for news.
 */
import type { ActorNamespace } from "@tenure/edge-runtime";
import type { Room } from "./room";

export { Room } from "./room";

interface Env {
  ROOM: ActorNamespace<Room>;
}

type RoomStub = ReturnType<Env["ROOM"]["idFromName"]>;

const PAGE_DEFAULT = 20;
const PAGE_MAX = 100;
const AUTHOR_CHARS_MAX = 50;
const TEXT_CHARS_MAX = 2_000;

function refuse(error: string, status = 400): Response {
  return Response.json({ error }, { status });
}

/** The query's whole number `name` from `min` to `max`; undefined when it is something else. */
function numberIn(
  query: URLSearchParams, name: string, fallback: number, min: number, max: number,
): number | undefined {
  const text = query.get(name) ?? String(fallback);
  const value = Number(text);
  return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined;
}

async function post(req: Request, room: RoomStub): Promise<Response> {
  // what arrives is whatever the client sent; an empty object stands for a body that is not JSON
  const { author, text } = ((await req.json().catch(() => null)) ?? {}) as { author?: unknown; text?: unknown };
  if (typeof author !== "string" || author === "" || author.length > AUTHOR_CHARS_MAX) {
    return refuse(`author must be text of 1 to ${AUTHOR_CHARS_MAX} characters`);
  }
  if (typeof text !== "string" || text === "" || text.length > TEXT_CHARS_MAX) {
    return refuse(`text must be text of 1 to ${TEXT_CHARS_MAX} characters`);
  }
  return Response.json(await room.post(author, text), { status: 201 });
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const { pathname, searchParams: query } = new URL(req.url);
    const name = pathname.match(/^\/rooms\/([\w-]{1,64})\/messages$/)?.[1];
    if (name === undefined) return refuse("use /rooms/NAME/messages, where NAME is letters, digits, _ and -", 404);
    const room = env.ROOM.idFromName(name);

    if (req.method === "POST") return post(req, room);
    if (req.method !== "GET") return refuse("use GET or POST", 405);

    const limit = numberIn(query, "limit", PAGE_DEFAULT, 1, PAGE_MAX);
    if (limit === undefined) return refuse(`limit must be a whole number from 1 to ${PAGE_MAX}`);
    const after = numberIn(query, "after", 0, 0, Number.MAX_SAFE_INTEGER);
    if (after === undefined) return refuse("after must be the id of a message, or 0");

    const messages = query.has("after") ? await room.after(after, limit) : await room.latest(limit);
    return Response.json({ messages, next: messages.at(-1)?.id ?? after });
  },
};
