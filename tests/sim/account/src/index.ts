import { StatefulActor } from "@tenure/edge-runtime";

type Mishap = "" | "throw" | "trap";
interface Answer {
  ok: boolean;
  balance: number;
}

/** An account that takes its time between reading and writing: turns that overlapped would lose each other's money. */
export class Account extends StatefulActor {
  async balance(): Promise<Answer> {
    return { ok: true, balance: (await this.ctx.storage.get<number>("balance")) ?? 0 };
  }

  async deposit(amount: number, pauseMs: number, mishap: Mishap): Promise<Answer> {
    return this.#change(amount, pauseMs, mishap);
  }

  async debit(amount: number, pauseMs: number, mishap: Mishap): Promise<Answer> {
    return this.#change(-amount, pauseMs, mishap);
  }

  async #change(by: number, pauseMs: number, mishap: Mishap): Promise<Answer> {
    const before = (await this.balance()).balance;
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (before + by < 0) return { ok: false, balance: before };
    await this.ctx.storage.put("balance", before + by);
    if (mishap === "throw") throw new Error("on purpose");
    if (mishap === "trap") await new Promise(() => {}); // nothing can settle it: the host stops the guest
    return { ok: true, balance: before + by };
  }
}
