"""What is sold was there, what is refused changes nothing, and the last mug goes to one customer."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest

from host import server
from host.config import ServeConfig
from tests.conftest import SESSION, Ship, shipping_to
from tests.kit.http import Site

pytestmark = SESSION

SHOPPING_CART = Path(__file__).parent
AFTER_THE_SALE = "    if (sale.ok) "
FAIL_ONCE = """\
    const failing = this as { failed?: boolean };
    if (!failing.failed) {
      failing.failed = true;
      throw new Error("the lights went out");
    }
"""


async def stock(site: Site, article: str, quantity: int = 0) -> int:
    """How many there are, after `quantity` more have come in."""
    path = f"/stock/{article}"
    reply = await (site.post(path, json={"quantity": quantity}) if quantity else site.get(path))
    assert reply.status_code == 200, reply.text
    left: int = reply.json()["left"]
    return left


async def add(site: Site, customer: str, **items: int) -> None:
    for article, quantity in items.items():
        reply = await site.post(f"/carts/{customer}/items/{article}", json={"quantity": quantity})
        assert reply.status_code == 200, reply.text


async def cart(site: Site, customer: str) -> dict[str, int]:
    items: dict[str, int] = (await site.get(f"/carts/{customer}")).json()["items"]
    return items


async def checkout(site: Site, customer: str) -> httpx.Response:
    return await site.post(f"/carts/{customer}/checkout")


async def test_a_cart_is_filled_changed_and_bought(shared: Ship) -> None:
    site = await shared(SHOPPING_CART)
    assert await stock(site, "pen", 10) == 10
    assert await stock(site, "ink", 5) == 5
    await add(site, "ada", pen=2, ink=1, book=1)
    await add(site, "ada", pen=1)
    assert (await site.ask("DELETE", "/carts/ada/items/book")).json() == {"items": {"pen": 3, "ink": 1}}
    assert await stock(site, "pen") == 10, "a cart reserves nothing"
    bought = await checkout(site, "ada")
    assert (bought.status_code, bought.json()) == (200, {"order": "ada-1", "sold": {"pen": 3, "ink": 1}})
    assert (await stock(site, "pen"), await stock(site, "ink"), await cart(site, "ada")) == (7, 4, {})
    await add(site, "ada", pen=1)
    assert (await checkout(site, "ada")).json() == {"order": "ada-2", "sold": {"pen": 1}}


async def test_a_checkout_that_lacks_one_article_takes_none_and_keeps_the_cart(shared: Ship) -> None:
    site = await shared(SHOPPING_CART)
    await stock(site, "cup", 5)
    await stock(site, "plate", 1)
    await add(site, "bob", cup=2, plate=2)
    refused = await checkout(site, "bob")
    assert refused.status_code == 409
    assert refused.json() == {"error": "sold out", "article": "plate", "wanted": 2, "left": 1}
    assert (await stock(site, "cup"), await stock(site, "plate")) == (5, 1)
    assert await cart(site, "bob") == {"cup": 2, "plate": 2}
    await stock(site, "plate", 1)
    assert (await checkout(site, "bob")).json() == {"order": "bob-1", "sold": {"cup": 2, "plate": 2}}
    assert (await stock(site, "cup"), await stock(site, "plate")) == (3, 0)


async def test_of_40_customers_after_7_mugs_exactly_7_get_one(shared: Ship) -> None:
    site = await shared(SHOPPING_CART)
    await stock(site, "mug", 7)
    await stock(site, "spoon", 100)
    customers = [f"customer-{number}" for number in range(40)]
    await asyncio.gather(*(add(site, customer, spoon=1, mug=1) for customer in customers))
    replies = await asyncio.gather(*(checkout(site, customer) for customer in customers))
    assert Counter(reply.status_code for reply in replies) == {200: 7, 409: 33}
    assert {reply.json()["left"] for reply in replies if reply.status_code == 409} == {0}
    assert (await stock(site, "mug"), await stock(site, "spoon")) == (0, 93)


async def test_a_cart_checked_out_ten_times_at_once_is_sold_once(shared: Ship) -> None:
    site = await shared(SHOPPING_CART)
    await stock(site, "lamp", 10)
    await add(site, "hasty", lamp=1)
    replies = await asyncio.gather(*(checkout(site, "hasty") for _ in range(10)))
    assert Counter(reply.status_code for reply in replies) == {200: 1, 409: 9}
    assert {reply.json()["error"] for reply in replies if reply.status_code == 409} == {"the cart is empty"}
    assert await stock(site, "lamp") == 9


async def test_a_sale_whose_cart_failed_is_found_again_and_not_made_twice(serve_config: ServeConfig) -> None:
    project = serve_config.data_dir.parent / "shopping-cart"
    shutil.copytree(SHOPPING_CART, project, ignore=shutil.ignore_patterns("node_modules", ".tenure"))
    source = (project / "src" / "cart.ts").read_text()
    assert source.count(AFTER_THE_SALE) == 1
    (project / "src" / "cart.ts").write_text(source.replace(AFTER_THE_SALE, FAIL_ONCE + AFTER_THE_SALE))

    async with server.running(serve_config) as host, shipping_to(host) as ship:
        site = await ship(project)
        await stock(site, "mug", 5)
        await add(site, "ada", mug=2)
        assert (await checkout(site, "ada")).status_code == 500
        assert (await stock(site, "mug"), await cart(site, "ada")) == (3, {"mug": 2}), (
            "sold, and the cart knows nothing"
        )
        await add(site, "ada", mug=1)
        assert (await checkout(site, "ada")).json() == {"order": "ada-1", "sold": {"mug": 2}}
        assert (await stock(site, "mug"), await cart(site, "ada")) == (3, {"mug": 1}), "what came later is still to buy"
        assert (await checkout(site, "ada")).json() == {"order": "ada-2", "sold": {"mug": 1}}
        assert await stock(site, "mug") == 2


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"quantity":0}', '{"quantity":-1}', '{"quantity":1.5}',
                                  '{"quantity":"1"}', '{"quantity":1001}'])  # fmt: skip
@pytest.mark.parametrize("path", ["/stock/never", "/carts/eve/items/never"])
async def test_a_quantity_that_is_no_count_is_refused(shared: Ship, path: str, body: str) -> None:
    site = await shared(SHOPPING_CART)
    reply = await site.post(path, content=body)
    assert (reply.status_code, reply.json()) == (400, {"error": "quantity must be a whole number from 1 to 1000"})
    assert (await stock(site, "never"), await cart(site, "eve")) == (0, {})


async def test_other_paths_and_methods_are_refused(shared: Ship) -> None:
    site = await shared(SHOPPING_CART)
    for method, path, status in [
        ("GET", "/", 404), ("GET", "/carts/ada/wishes", 404), ("POST", "/carts/ada", 405), ("PUT", "/stock/mug", 405),
        ("GET", "/carts/ada/checkout", 405), ("GET", "/carts/ada/items/mug", 405),
    ]:  # fmt: skip
        reply = await site.ask(method, path)
        assert (reply.status_code, "error" in reply.json()) == (status, True), path
