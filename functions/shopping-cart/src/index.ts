/**
 * A small shop: a cart for each customer, one inventory for all.
 *
 *     GET    /stock/mug                            how many are left
 *     POST   /stock/mug {"quantity": 5}            so many more have come in
 *     GET    /carts/ada                            what is in Ada's cart
 *     POST   /carts/ada/items/mug {"quantity": 2}  two mugs more
 *     DELETE /carts/ada/items/mug                  no mugs after all
 *     POST   /carts/ada/checkout                   buys everything in the cart, or nothing
 */
import { type Env, SHOP } from "./cart";
import type { Quantities } from "./inventory";

export { Cart } from "./cart";
export { Inventory } from "./inventory";

type CartStub = ReturnType<Env["CART"]["idFromName"]>;

const QUANTITY_MAX = 1_000;
const QUANTITY_WANTED = `quantity must be a whole number from 1 to ${QUANTITY_MAX}`;

function refuse(error: string, status: number): Response {
  return Response.json({ error }, { status });
}

/** The body's `quantity`, or undefined when it is no whole number from 1 to QUANTITY_MAX. */
async function quantityOf(req: Request): Promise<number | undefined> {
  const { quantity } = ((await req.json().catch(() => null)) ?? {}) as { quantity?: unknown };
  const fits = typeof quantity === "number" && Number.isInteger(quantity) && quantity >= 1 && quantity <= QUANTITY_MAX;
  return fits ? quantity : undefined;
}

function shown(items: Quantities): Response {
  return Response.json({ items: Object.fromEntries(items) });
}

async function onStock(req: Request, env: Env, article: string): Promise<Response> {
  const inventory = env.INVENTORY.idFromName(SHOP);
  if (req.method === "GET") return Response.json({ article, left: await inventory.left(article) });
  if (req.method !== "POST") return refuse("use GET or POST", 405);
  const quantity = await quantityOf(req);
  if (quantity === undefined) return refuse(QUANTITY_WANTED, 400);
  return Response.json({ article, left: await inventory.restock(article, quantity) });
}

async function onItem(req: Request, cart: CartStub, article: string): Promise<Response> {
  if (req.method === "DELETE") return shown(await cart.remove(article));
  if (req.method !== "POST") return refuse("use POST or DELETE", 405);
  const quantity = await quantityOf(req);
  return quantity === undefined ? refuse(QUANTITY_WANTED, 400) : shown(await cart.add(article, quantity));
}

async function onCheckout(req: Request, cart: CartStub): Promise<Response> {
  if (req.method !== "POST") return refuse("use POST", 405);
  const done = await cart.checkout();
  if (done === undefined) return refuse("the cart is empty", 409);
  const { order, sale } = done;
  if (sale.ok) return Response.json({ order, sold: Object.fromEntries(sale.sold) });
  const { article, wanted, left } = sale;
  return Response.json({ error: "sold out", article, wanted, left }, { status: 409 });
}

export default {
  async fetch(req: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(req.url);
    const article = pathname.match(/^\/stock\/([\w-]{1,64})$/)?.[1];
    if (article !== undefined) return onStock(req, env, article);

    const [, customer, rest] = pathname.match(/^\/carts\/([\w-]{1,64})(\/.*)?$/) ?? [];
    if (customer === undefined) return refuse("use /stock/ARTICLE or /carts/CUSTOMER", 404);
    const cart = env.CART.idFromName(customer);
    if (rest === undefined) return req.method === "GET" ? shown(await cart.items()) : refuse("use GET", 405);
    if (rest === "/checkout") return onCheckout(req, cart);

    const item = rest.match(/^\/items\/([\w-]{1,64})$/)?.[1];
    return item === undefined ? refuse("a cart has /items/ARTICLE and /checkout", 404) : onItem(req, cart, item);
  },
};
