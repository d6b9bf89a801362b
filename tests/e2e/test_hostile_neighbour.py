"""Each attack beside a neighbour, another tenant's account: its latency is bounded, and shown at the end of the run."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from host import server
from tests.conftest import FUNCTIONS, SESSION, admin_of
from tests.kit.http import Site

pytestmark = [SESSION, pytest.mark.alone]

Attack = Callable[[], Awaitable[list[httpx.Response]]]

REPLIES = 60
PAUSE_S = 0.002
SLOWER_MAX, P99_MAX_S = 10.0, 0.1
"""Ten times what it is alone, or the longest step that the host takes for anybody, such as a commit of 16 MiB."""
TRIES = 3

BOTH = (
    *("spin", "recurse", "hoard", "storm", "timers", "never", "lines", "logFlood"),
    *("giantText", "giantHeader", "giantError", "pollute/Array", "pollute/Object"),
)
ACTORS = ("flood/1500", "tiny/200000", "writeAndSpin")
FORGED = ("forged", "cancels", "unbound", "storage", "many-heads", "giant-body")


class Neighbour:
    """Deposits, one after another."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.alone_s = 0.0

    async def latencies(self) -> list[float]:
        """Seconds of each reply, in order of size."""
        seconds = []
        for _ in range(REPLIES):
            began = time.perf_counter()
            reply = await self._site.post("/accounts/neighbour/deposit", json={"amount": 1})
            assert reply.status_code == 200, reply.text
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_S)
        return sorted(seconds)

    async def beside(self, attack: Attack) -> list[float]:
        """The same while `attack` is made again and again."""
        watching = asyncio.create_task(self.latencies())
        while not watching.done():
            for reply in await attack():
                assert reply.status_code < 600
        return await watching


def percentile_s(seconds: list[float], share: float) -> float:
    """Nearest rank; `seconds` are sorted."""
    return seconds[math.ceil(share * len(seconds)) - 1]


def shown(what: str, seconds: list[float]) -> str:
    p50, p99 = (percentile_s(seconds, share) * 1e3 for share in (0.5, 0.99))
    return f"  {what:<32} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   longest {seconds[-1] * 1e3:6.1f} ms"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def neighbour(shared_host: server.Host, summary: list[str]) -> AsyncIterator[Neighbour]:
    await shared_host.control.registry.create_tenant("neighbour")
    key = await shared_host.control.registry.create_key("neighbour", "ci", "tenant")
    async with admin_of(shared_host, key) as admin:
        site = Site(shared_host.control.listen_url, (await admin.ship(FUNCTIONS / "account")).host)
    found = Neighbour(site)
    await found.latencies()  # the first ones find nothing warm
    alone = await found.latencies()
    found.alone_s = percentile_s(alone, 0.99)
    summary += ["A deposit of another tenant beside attacks:", shown("(none)", alone)]
    yield found
    await site.close()


async def bounded(neighbour: Neighbour, what: str, attack: Attack, summary: list[str]) -> None:
    """The best of a few tries counts: what else runs on the machine makes a measurement worse and never better."""
    bound_s = max(P99_MAX_S, SLOWER_MAX * neighbour.alone_s)
    for _ in range(TRIES):
        seconds = await neighbour.beside(attack)
        if percentile_s(seconds, 0.99) < bound_s:
            break
    summary.append(shown(what, seconds))
    assert percentile_s(seconds, 0.99) < bound_s


@pytest.mark.parametrize("attack", [*BOTH, *ACTORS])
async def test_a_neighbour_is_served_while_guests_attack(
    hostile: Site, neighbour: Neighbour, summary: list[str], attack: str
) -> None:
    async def once() -> list[httpx.Response]:
        name = attack.replace("/", "-")
        paths = [f"/actors/beside-{name}/{attack}", *([f"/handler/{attack}"] if attack in BOTH else [])]
        return [await hostile.get(path) for path in paths]

    await bounded(neighbour, attack, once, summary)
    if attack.startswith("pollute"):  # no later test is to meet what is left of it
        await hostile.get("/handler/spin")


@pytest.mark.parametrize("attack", FORGED)
async def test_a_neighbour_is_served_while_a_guest_breaks_the_contract(
    forger: Site, neighbour: Neighbour, summary: list[str], attack: str
) -> None:
    async def once() -> list[httpx.Response]:
        return [await forger.get(f"/{attack}")]

    await bounded(neighbour, f"raw: {attack}", once, summary)


async def test_a_neighbour_is_served_while_names_are_made_to_reach_its_actors(
    hostile: Site, neighbour: Neighbour, summary: list[str]
) -> None:
    """The neighbour's own tenant, type and name in every place, and what would break out of a key."""
    names = ("neighbour\0Account\0neighbour", "../neighbour/Account/neighbour", "neighbour\x01", "\U0010ffff", "%00")

    async def once() -> list[httpx.Response]:
        replies = []
        for name in names:
            for method, args in (("list", [{}]), ("get", ["balance"]), ("put", [name, 1])):
                call = {"binding": "HOSTILE", "name": name, "method": method, "args": args}
                replies.append(await hostile.post("/call", json=call))
            replies.append(await hostile.post("/call", json={**call, "binding": "ACCOUNT", "method": "balance"}))
            assert replies[-4].json() in ({"value": []}, {"value": [name]})
            assert replies[-1].status_code == 500, "no manifest names another tenant's type"
        return replies

    await bounded(neighbour, "crafted names and keys", once, summary)


async def test_a_neighbour_is_served_while_many_guests_attack_at_once(
    hostile: Site, neighbour: Neighbour, summary: list[str]
) -> None:
    async def once() -> list[httpx.Response]:
        attacks = [hostile.get(f"/actors/crowd-{number}/spin") for number in range(4)]
        attacks += [hostile.get("/handler/spin") for _ in range(4)]
        return await asyncio.gather(*attacks)

    await bounded(neighbour, "eight spin at once", once, summary)
