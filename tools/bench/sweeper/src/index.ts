import { StatefulActor, type ActorNamespace } from "@tenure/edge-runtime";

interface Env {
  CELL: ActorNamespace<Cell>;
}

/** What one call can be made larger of: what it stores, and how deep it goes. */
export class Cell extends StatefulActor<Env> {
  /** Read the value that is there, and store one of `size` characters. */
  async swap(size: number): Promise<number> {
    await this.ctx.storage.get<string>("value");
    await this.ctx.storage.put("value", "x".repeat(size));
    return size;
  }

  /** Pass through `depth` actors, this one included. */
  async pass(depth: number): Promise<number> {
    if (depth <= 1) return 1;
    return 1 + (await this.env.CELL.idFromName(`${this.ctx.id}+`).pass(depth - 1));
  }
}

/**
 *     POST /echo              the body, as it came
 *     POST /swap/NAME/SIZE    {"size": SIZE}
 *     POST /pass/NAME/DEPTH   {"size": DEPTH}
 */
export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const [, what, name, number] = new URL(req.url).pathname.split("/");
    if (what === "echo") return new Response(await req.arrayBuffer());
    const cell = env.CELL.idFromName(name!);
    const size = what === "swap" ? await cell.swap(Number(number)) : await cell.pass(Number(number));
    return Response.json({ size });
  },
};
