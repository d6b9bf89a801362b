"""Load on a host of several workers whose books are kept: who was answered, who failed, and for how long nobody was."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator

import httpx

from host.model.ids import ActorId
from host.registry.records import DEFAULT_TENANT
from host.storage.layout import shard_of
from tests.kit.admin import Shipped
from tests.kit.http import Site
from tests.kit.process import HostProcess, server_of
from tests.kit.until import wait_until

LONG_S = 30.0


async def get_once(host: HostProcess, shipped: Shipped, path: str) -> httpx.Response:
    """A request on a connection of its own, which goes to whichever worker the kernel chooses."""
    site = Site(f"http://127.0.0.1:{host.port}", shipped.host)
    try:
        return await site.get(path)
    finally:
        await site.close()


def account_of(slot: int, number: int = 0) -> str:
    """The name of an account that is in a shard of this slot's worker."""
    names = (f"account-{each}" for each in range(1_000))
    return [name for name in names if shard_of(ActorId(DEFAULT_TENANT, "Account", name), 2) == slot][number]


@contextlib.asynccontextmanager
async def site_at(
    host: HostProcess, shipped: Shipped, slot: int, path: str = "/health/liveness"
) -> AsyncIterator[Site]:
    """A client whose connection is served by the worker of this slot: the kernel chooses, so this tries until it is."""
    pid = host.workers()[slot]
    while True:
        site = Site(f"http://127.0.0.1:{host.port}", shipped.host)
        await site.get(path)
        (port,) = site.ports()
        if server_of(port, host.port, host.workers().values()) == pid:
            break
        await site.close()
    try:
        yield site
    finally:
        await site.close()


class Client:
    """Deposits of 1 into an account, one after the other, on a connection that is made again when it breaks."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.done = self.unknown = self.last = 0
        self.failed: list[tuple[float, str]] = []
        self.answered: list[float] = []
        self.going = True

    async def run(self) -> None:
        while self.going:
            try:
                reply = await self.site.post(f"/accounts/{self.name}/deposit", json={"amount": 1})
            except (OSError, asyncio.IncompleteReadError) as error:
                self.unknown += 1
                self.failed.append((time.monotonic(), repr(error)))
                await asyncio.sleep(0.001)
                continue
            if reply.status_code != 200:
                self.unknown += 1
                self.failed.append((time.monotonic(), reply.text))
                continue
            assert reply.json()["balance"] > self.last, "an acknowledged deposit is gone"
            self.last = reply.json()["balance"]
            self.done += 1
            self.answered.append(time.monotonic())

    def longest_wait(self, since: float) -> float:
        """The longest time without an answer from then on."""
        moments = [since, *(moment for moment in self.answered if moment > since)]
        return max(after - before for before, after in itertools.pairwise(moments))

    async def check(self) -> None:
        balance = (await self.site.get(f"/accounts/{self.name}/balance")).json()["balance"]
        assert self.done <= balance <= self.done + self.unknown


@contextlib.asynccontextmanager
async def load(*clients: Client) -> AsyncIterator[None]:
    """Every client has had answers before the block begins and, again, before it ends; then the books are checked."""
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        for moment in ("before", "after"):
            seen = [client.done for client in clients]
            await wait_until(
                lambda seen=seen: all(client.done >= had + 20 for client, had in zip(clients, seen, strict=True)),
                f"answers {moment}",
                LONG_S,
            )
            if moment == "before":
                yield
    finally:
        for client in clients:
            client.going = False
        await asyncio.gather(*tasks)
    for client in clients:
        await client.check()
