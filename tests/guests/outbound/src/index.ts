/** Runs the code that a test posts, in the handler or in an actor, and answers with what it returns as JSON.
 *
 *  What it throws comes back as {"error": name, "message"}. `ctx` is the actor's context, undefined in the handler.
 */
import { StatefulActor } from "@tenure/edge-runtime";

const AsyncFunction = (async () => {}).constructor as new (...texts: string[]) => (...args: unknown[]) => unknown;

async function run(source: string, ctx: unknown, env: unknown): Promise<unknown> {
  try {
    return (await new AsyncFunction("ctx", "env", source)(ctx, env)) ?? null;
  } catch (error) {
    const { name, message } = error as Error;
    return { error: name, message };
  }
}

export class Runner extends StatefulActor {
  async run(source: string): Promise<unknown> {
    return run(source, this.ctx, this.env);
  }
}

export default {
  async fetch(req: Request, env: any): Promise<Response> {
    const source = await req.text();
    const actor = new URL(req.url).searchParams.get("actor");
    const result = actor === null ? run(source, undefined, env) : env.RUNNER.idFromName(actor).run(source);
    return Response.json(await result);
  },
};
