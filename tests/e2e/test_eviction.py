"""Activations come and go by count and by idleness, and no balance with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from host import server
from host.model.clock import ManualClock
from host.model.limits import HOST_LIMITS
from tests.conftest import FUNCTIONS, config_in, shipping_to
from tests.kit.http import Site
from tests.kit.until import wait_until

ACCOUNTS = 200
ACTIVATIONS_MAX = 50
IDLE_S = 30.0
AT_ONCE = 16


async def _all(site: Site, method: str, action: str, body: object = None) -> list[int]:
    """Balances of all accounts, as each one's reply tells."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with gate:
            reply = await site.ask(method, f"/accounts/touched-{number}/{action}", json=body)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        assert answer["account"] == f"touched-{number}"
        return int(answer["balance"])

    return await asyncio.gather(*(one(number) for number in range(ACCOUNTS)))


async def test_more_accounts_than_fit_in_memory_keep_their_balances(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path), limits=replace(HOST_LIMITS, activations_max=ACTIVATIONS_MAX))
    async with server.running(config) as host, shipping_to(host) as ship:
        site = await ship(FUNCTIONS / "account")
        for deposits in (1, 2):
            assert await _all(site, "POST", "deposit", {"amount": 1}) == [deposits] * ACCOUNTS
            await wait_until(lambda: host.worker.cluster.activations <= ACTIVATIONS_MAX, "eviction by count")
        assert await _all(site, "GET", "balance") == [2] * ACCOUNTS
        await wait_until(lambda: host.worker.cluster.activations <= ACTIVATIONS_MAX, "eviction by count")
        stores = host.worker.library.engine.stores
        assert stores <= ACTIVATIONS_MAX + host.worker.handlers.warm, "an evicted activation keeps its instance"


async def test_idle_accounts_leave_memory_and_come_back_with_their_balances(tmp_path: Path) -> None:
    clock = ManualClock()
    config = replace(config_in(tmp_path), limits=replace(HOST_LIMITS, activation_idle_s=IDLE_S))
    async with server.running(config, clock) as host, shipping_to(host) as ship:
        site = await ship(FUNCTIONS / "account")
        assert await _all(site, "POST", "deposit", {"amount": 1}) == [1] * ACCOUNTS
        assert host.worker.cluster.activations == ACCOUNTS
        clock.advance(IDLE_S / 2)
        await site.get("/accounts/touched-0/balance")
        clock.advance(IDLE_S / 2 + 1)
        await wait_until(lambda: host.worker.cluster.activations <= 1, "eviction of idle activations")
        clock.advance(2 * IDLE_S)
        await wait_until(lambda: host.worker.cluster.activations == 0, "eviction of the last one")
        assert await _all(site, "GET", "balance") == [1] * ACCOUNTS
