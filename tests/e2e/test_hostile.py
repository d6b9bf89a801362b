"""Guests that try to take the host with them: each is stopped in bounded time, beside others that notice nothing.

`tests/guests/hostile` lowers its own limits (500 ms of CPU, 64 MiB), so that a test need not wait for the defaults.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

import httpx
import pytest
import pytest_asyncio

from tests.conftest import FUNCTIONS, GUESTS, SESSION, Ship
from tests.kit.http import Site

pytestmark = [SESSION, pytest.mark.alone]

ATTACKS = ("spin", "recurse", "hoard", "storm", "fork", "regexp", "timers")
BESIDE = (*ATTACKS, "never", "lines", "logFlood", "giantText", "giantHeader", "giantError")
BOUND_S = 15.0
P99_MAX_S = 0.1
# On a machine that is busy with other things the victim is slow without any attack, too.
SLOWER_MAX = 4.0
PAUSE_S = 0.005
REPLIES_MIN = 100


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile(shared: Ship) -> Site:
    return await shared(GUESTS / "hostile")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def victim(shared: Ship) -> Site:
    site = await shared(FUNCTIONS / "account")
    await site.post("/accounts/victim/deposit", json={"amount": 1})
    return site


class Watch:
    """Deposits to the victim's account, one after another, while the block runs; then it has their latencies."""

    def __init__(self, victim: Site) -> None:
        self._victim = victim
        self.seconds: list[float] = []
        self.enough = asyncio.Event()

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Watches on until there are enough replies to judge by. Raises what the victim's requests raised."""
        enough = asyncio.create_task(self.enough.wait())
        await asyncio.wait([enough, self._task], return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            began = time.perf_counter()
            reply = await self._victim.post("/accounts/victim/deposit", json={"amount": 1})
            assert reply.status_code == 200, reply.text
            self.seconds.append(time.perf_counter() - began)
            if len(self.seconds) == REPLIES_MIN:
                self.enough.set()
            await asyncio.sleep(PAUSE_S)

    def percentile_s(self, share: float) -> float:
        """Nearest rank."""
        return sorted(self.seconds)[max(math.ceil(share * len(self.seconds)), 1) - 1]

    def __str__(self) -> str:
        p50, p99 = (f"{self.percentile_s(share) * 1000:.1f} ms" for share in (0.5, 0.99))
        return f"{len(self.seconds)} replies, p50 {p50}, p99 {p99}"


async def _attack(hostile: Site, path: str) -> httpx.Response:
    began = time.monotonic()
    reply = await hostile.get(path)
    assert time.monotonic() - began < BOUND_S, path
    return reply


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_actor_that_attacks_is_stopped_and_a_fresh_one_answers(hostile: Site, attack: str) -> None:
    assert (await hostile.get(f"/actors/{attack}/count")).json() == {"value": 1}
    reply = await _attack(hostile, f"/actors/{attack}/{attack}")
    assert reply.status_code == 500
    assert reply.json()["error"] in {"ActorCrashedError", "ActorMethodError"}
    assert (await hostile.get(f"/actors/{attack}/count")).json() == {"value": 2}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_handler_that_attacks_is_stopped_and_a_fresh_one_answers(hostile: Site, attack: str) -> None:
    reply = await _attack(hostile, f"/handler/{attack}")
    assert reply.status_code in (500, 503)
    assert len(reply.json()["errors"]) == 1
    assert (await hostile.get("/actors/fresh/count")).status_code == 200


async def test_others_are_served_while_guests_attack_one_after_the_other(hostile: Site, victim: Site) -> None:
    async with Watch(victim) as alone:
        pass
    async with Watch(victim) as attacked:
        for attack in BESIDE:
            await _attack(hostile, f"/actors/beside-{attack}/{attack}")
            await _attack(hostile, f"/handler/{attack}")
    print(f"victim alone: {alone}\nvictim beside attacks: {attacked}")
    assert attacked.percentile_s(0.99) < max(P99_MAX_S, SLOWER_MAX * alone.percentile_s(0.99))


async def test_a_turn_that_is_stopped_leaves_none_of_its_writes(hostile: Site) -> None:
    assert (await hostile.get("/actors/writer/count")).json() == {"value": 1}
    assert (await hostile.get("/actors/writer/writeAndSpin")).json()["error"] == "ActorCrashedError"
    assert (await hostile.get("/actors/writer/count")).json() == {"value": 2}


async def test_turns_that_wait_behind_a_hostile_one_run_on_a_fresh_activation(hostile: Site) -> None:
    first = asyncio.create_task(hostile.get("/actors/queue/spin"))
    await asyncio.sleep(0.05)
    waiting = await asyncio.gather(*(hostile.get("/actors/queue/count") for _ in range(10)))
    assert (await first).json()["error"] == "ActorCrashedError"
    assert sorted(reply.json()["value"] for reply in waiting) == list(range(1, 11))


async def test_others_are_served_while_many_guests_attack_at_once(hostile: Site, victim: Site) -> None:
    async with Watch(victim) as watched:
        attacks = [hostile.get(f"/actors/crowd-{number}/spin") for number in range(4)]
        attacks += [hostile.get("/handler/spin") for _ in range(4)]
        replies = await asyncio.gather(*attacks)
    assert {reply.status_code for reply in replies} <= {500, 503}
    print(f"victim beside 8 busy guests: {watched}")
    assert watched.percentile_s(0.99) < 1.0
