"""Guests that try to take the host with them: each is stopped in bounded time, and a fresh one takes its place.

`tests/guests/hostile` lowers its own limits (500 ms of CPU, 64 MiB), so that a test need not wait for the defaults.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.conftest import SESSION
from tests.kit.http import Site

pytestmark = [SESSION, pytest.mark.alone]

ATTACKS = ("spin", "recurse", "hoard", "storm", "fork", "regexp", "timers")
BOUND_S = 15.0


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
