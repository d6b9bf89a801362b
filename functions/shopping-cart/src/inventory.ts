import { StatefulActor } from "@tenure/edge-runtime";

/** How many of each article, by the article's name. */
export type Quantities = Map<string, number>;

export type Sale =
  | { readonly ok: true; readonly sold: Quantities }
  | { readonly ok: false; readonly article: string; readonly wanted: number; readonly left: number };

const stockOf = (article: string) => `stock:${article}`;

/**
 * What the shop has. One actor holds all articles, so that a sale of several is one step: all of them or none.
 * A shop with more sales than one actor can do would have an actor for each warehouse, not for each article.
 */
export class Inventory extends StatefulActor {
  async restock(article: string, quantity: number): Promise<number> {
    const left = (await this.left(article)) + quantity;
    await this.ctx.storage.put(stockOf(article), left);
    return left;
  }

  async left(article: string): Promise<number> {
    return (await this.ctx.storage.get<number>(stockOf(article))) ?? 0;
  }

  /**
   * Sells everything in `wanted`, or nothing. The caller names its order: a caller that never heard the answer asks
   * again for the same order, and gets the answer of the first time instead of a second sale.
   */
  async sell(order: string, wanted: Quantities): Promise<Sale> {
    const earlier = await this.ctx.storage.get<Quantities>(`order:${order}`);
    if (earlier !== undefined) return { ok: true, sold: earlier };

    return this.ctx.storage.transaction<Sale>(async (txn) => {
      for (const [article, quantity] of wanted) {
        const left = (await txn.get<number>(stockOf(article))) ?? 0;
        if (left < quantity) {
          txn.rollback(); // puts back the articles that were taken before this one
          return { ok: false, article, wanted: quantity, left };
        }
        await txn.put(stockOf(article), left - quantity);
      }
      await txn.put(`order:${order}`, wanted);
      return { ok: true, sold: wanted };
    });
  }
}
