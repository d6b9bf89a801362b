import { StatefulActor } from "@tenure/edge-runtime";

const RELEASE: string = "one";

interface Turn {
  balance: number;
  /** What the turn saw of its own version at its start and at its end: code, environment and what it wrote. */
  seen: string[];
}

/** An account whose every deposit waits in the middle, so that a deployment would find turns half done. */
export class Ledger extends StatefulActor<any> {
  async deposit(amount: number): Promise<Turn> {
    const { storage } = this.ctx;
    const balance = ((await storage.get<number>("balance")) ?? 0) + amount;
    await storage.put("began", RELEASE);
    const seen = [RELEASE, this.env.RELEASE];
    await new Promise((resolve) => setTimeout(resolve, 3));
    seen.push((await storage.get<string>("began"))!, RELEASE, this.env.RELEASE);
    await storage.put("balance", balance);
    await storage.put("ended", RELEASE);
    return { balance, seen };
  }

  /** The balance, and which version began and which ended the last turn. */
  async look(): Promise<{ balance: number; began: string; ended: string }> {
    const { storage } = this.ctx;
    return {
      balance: (await storage.get<number>("balance")) ?? 0,
      began: (await storage.get<string>("began"))!,
      ended: (await storage.get<string>("ended"))!,
    };
  }
}

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    const [, account] = new URL(request.url).pathname.split("/");
    const began = [RELEASE, env.RELEASE];
    if (account === "") return Response.json({ handler: [...began, RELEASE, env.RELEASE] });
    const stub = env.LEDGER.idFromName(account);
    const turn = request.method === "POST" ? await stub.deposit(1) : await stub.look();
    return Response.json({ handler: [...began, RELEASE, env.RELEASE], ...turn });
  },
};
