import { StatefulActor } from "@tenure/edge-runtime";

/** Keeps a number, has an alarm far away, and reads the function's secret. */
export class Keeper extends StatefulActor<any> {
  async add(): Promise<number> {
    const value = ((await this.ctx.storage.get<number>("value")) ?? 0) + 1;
    await this.ctx.storage.put("value", value);
    await this.ctx.storage.setAlarm(Date.now() + 86_400_000);
    return value;
  }

  async secret(): Promise<string | undefined> {
    return this.env.SECRETS.get("STRIPE");
  }

  async alarm(): Promise<void> {}
}

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    const [, name, what] = new URL(request.url).pathname.split("/");
    if (name === "secret") return Response.json((await env.SECRETS.get("STRIPE")) ?? null);
    const keeper = env.KEEPER.idFromName(name);
    return Response.json((await (what === "secret" ? keeper.secret() : keeper.add())) ?? null);
  },
};
