import { type ActorNamespace, StatefulActor } from "@tenure/edge-runtime";
import type { Inventory, Quantities, Sale } from "./inventory";

export interface Env {
  CART: ActorNamespace<Cart>;
  INVENTORY: ActorNamespace<Inventory>;
}

/** The one Inventory of this shop. */
export const SHOP = "main";

export type Checkout = { readonly order: string; readonly sale: Sale } | undefined;

/** What one customer means to buy. It reserves nothing: who checks out first gets the last one. */
export class Cart extends StatefulActor<Env> {
  async items(): Promise<Quantities> {
    return (await this.ctx.storage.get<Quantities>("items")) ?? new Map();
  }

  async add(article: string, quantity: number): Promise<Quantities> {
    const items = await this.items();
    items.set(article, (items.get(article) ?? 0) + quantity);
    await this.ctx.storage.put("items", items);
    return items;
  }

  async remove(article: string): Promise<Quantities> {
    const items = await this.items();
    items.delete(article);
    await this.ctx.storage.put("items", items);
    return items;
  }

  /**
   * Buys what is in the cart; undefined when it is empty.
   *
   * The inventory commits its part before this method returns, so the two can come apart: the stock is sold, and then
   * this turn fails and its writes are dropped. That is why the order's number is written only here, at the end: the
   * next checkout then asks for the same order, and is told what was sold for it.
   */
  async checkout(): Promise<Checkout> {
    const items = await this.items();
    if (items.size === 0) return undefined;

    const number = ((await this.ctx.storage.get<number>("orders")) ?? 0) + 1;
    const order = `${this.ctx.id}-${number}`;
    const sale = await this.env.INVENTORY.idFromName(SHOP).sell(order, items);
    if (sale.ok) await this.ctx.storage.put({ orders: number, items: without(items, sale.sold) });
    return { order, sale };
  }
}

/** `items` less what was sold: empty, unless the sale is an earlier one and the customer has added to the cart since. */
function without(items: Quantities, sold: Quantities): Quantities {
  const open = [...items].map(([article, quantity]): [string, number] => [article, quantity - (sold.get(article) ?? 0)]);
  return new Map(open.filter(([, quantity]) => quantity > 0));
}
