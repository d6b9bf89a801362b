"""Turns in different workers that wait for each other: said within milliseconds, with the ring, and only when true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.model.errors import ActorDeadlockError
from host.model.limits import LIMITS
from tests.kit.cluster import Worker, WorkerProcess, linked, name_on, open_workers
from tests.kit.rooms import GUEST, compiled, version_of

A, B, C = (name_on(slot, 3, name) for slot, name in enumerate("abc"))
A2 = name_on(0, 3, "a-second-")


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Worker]]:
    """Three workers of one host, in this process."""
    async with open_workers(tmp_path, 3, version=version_of(limits=replace(LIMITS, method_wall_s=10.0))) as opened:
        yield opened


def call(name: str, *steps: list[Any]) -> list[Any]:
    return ["call", "PROBE", name, "run", [list(steps)]]


def crossing(own: str, *others: str) -> list[list[Any]]:
    """Holds its actor for a moment, so that the others have begun as well, then calls them one through the other."""
    steps: list[Any] = ["put", "called by", own]
    for other in reversed(others):
        steps = call(other, steps)
    return [["put", "began", own], ["pause", 60], ["try", steps]]


async def together(worker: Worker, *ways: tuple[str, ...]) -> list[dict[str, Any]]:
    """Start a turn for each way, begun by requests of their own; how each one's call ended."""
    results = await asyncio.gather(*(worker.run(own, *crossing(own, *others)) for own, *others in ways))
    return [steps[2] for steps in results]


def deadlocks(outcomes: list[dict[str, Any]]) -> list[str]:
    return [outcome["message"] for outcome in outcomes if outcome.get("name") == "ActorDeadlockError"]


async def test_two_workers_turns_that_call_each_others_actor_are_told_at_once_and_one_gets_through(
    workers: list[Worker],
) -> None:
    first = workers[0]
    started = time.monotonic()
    outcomes = await together(first, (A, B), (B, A))
    assert time.monotonic() - started < 5.0
    (message,) = deadlocks(outcomes)
    assert message.endswith((f"Probe/{A} -> Probe/{B} -> Probe/{A}", f"Probe/{B} -> Probe/{A} -> Probe/{B}"))
    loser, winner = (A, B) if deadlocks(outcomes[:1]) else (B, A)
    assert await first.run(loser, ["get", "called by"]) == [winner]
    assert await first.run(winner, ["get", "called by"]) == [None], "a call that was refused must not run later"


@pytest.mark.parametrize(
    "ways",
    [
        [(A, B), (B, C), (C, A)],
        [(A, B, C), (C, A)],
        [(A, A2), (A2, B), (B, A)],
        [(A, B, A2), (A2, A)],
        [(A, B, A2), (A2, C, A)],
    ],
    ids=["three workers", "a nested call", "half of it local", "only local calls wait", "two nested calls"],
)
async def test_a_ring_is_found_whatever_its_way(ways: list[tuple[str, ...]], workers: list[Worker]) -> None:
    started = time.monotonic()
    outcomes = await together(workers[1], *ways)
    assert time.monotonic() - started < 5.0
    (message,) = deadlocks(outcomes)
    assert "these actors wait for each other: " in message
    path = message.partition(": ")[2].split(" -> ")
    assert path[0] == path[-1]
    assert len(set(path)) == len(path) - 1


async def test_rings_that_close_at_the_same_moment_lose_one_call_each(workers: list[Worker]) -> None:
    names = [[name_on(slot, 3, f"{number}-") for slot in range(3)] for number in range(20)]
    ways = [pair for a, b, c in names for pair in ((a, b), (b, c), (c, a))]
    outcomes = await together(workers[2], *ways)
    assert len(deadlocks(outcomes)) == len(names)
    assert len([outcome for outcome in outcomes if "ok" in outcome]) == 2 * len(names)


async def test_waiting_for_a_busy_actor_of_another_worker_is_no_deadlock(workers: list[Worker]) -> None:
    first = workers[0]
    slow = first.run(B, ["pause", 300], ["put", "done", 1])
    waiting = [first.run(A, ["pause", 10], call(B, ["get", "done"])), first.run(C, call(A, ["put", "x", 1]))]
    assert (await asyncio.gather(slow, *waiting))[1:] == [[None, [1]], [[None]]]


async def test_a_turn_that_also_waits_for_a_timer_is_not_accused(workers: list[Worker]) -> None:
    first = workers[0]
    holds = first.run(B, ["pause", 20], ["send", "PROBE", A, "run", [[["put", "x", 1]]]], ["pause", 200])
    calls = first.run(A, ["pause", 30], call(B, ["put", "y", 1]))
    assert (await asyncio.gather(holds, calls))[1] == [None, [None]]
    assert await first.run(A, ["get", "x"]) == [1]


async def test_who_only_waits_for_a_ring_is_served_when_it_is_broken(workers: list[Worker]) -> None:
    first = workers[0]
    outside = [first.run(name_on(slot, 3, "outside"), ["pause", 80], call(A, ["put", "x", 1])) for slot in range(3)]
    outcomes = await together(first, (A, B), (B, A))
    assert len(deadlocks(outcomes)) == 1
    assert await asyncio.gather(*outside) == [[None, [None]]] * 3


async def test_many_calls_among_busy_actors_of_all_workers_accuse_nobody(workers: list[Worker]) -> None:
    """Each actor calls only those after it, so there is never a ring, however long they wait."""
    names = [name_on(number % 3, 3, f"line-{number}-") for number in range(12)]

    async def ask(number: int) -> Any:
        own, *after = names[number % 6 :: 3]
        steps = [call(other, ["pause", 7], ["put", f"{number}", 1]) for other in after]
        return await workers[number % 3].run(own, ["pause", 3], ["all", steps])

    results = await asyncio.gather(*(ask(number) for number in range(90)))
    assert all(None in result for result in results)


async def test_a_ring_through_a_process_of_its_own_is_found_in_milliseconds_with_its_chain(tmp_path: Path) -> None:
    near, far = name_on(0, 2, "near"), name_on(1, 2, "far")
    other = WorkerProcess(tmp_path, 1, 2, 2)
    try:
        async with open_workers(tmp_path, 2, here=1) as (first,):
            await other.start()
            await linked(first, 1)
            await together(first, (near, far))
            outcomes = await together(first, (near, far), (far, near))
            (message,) = deadlocks(outcomes)
            assert f"Probe/{near} -> Probe/{far}" in message or f"Probe/{far} -> Probe/{near}" in message
            with pytest.raises(ActorDeadlockError, match=f"Probe/{far} -> Probe/{near} -> Probe/{far}"):
                await first.run(far, call(near, call(far, ["put", "x", 1])))
    finally:
        other.kill()
