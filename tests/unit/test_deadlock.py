"""Turns of different requests that wait for each other: said at once, with the ring, and only when it is true."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from host.model.limits import LIMITS
from host.model.version import Version
from host.storage.memory import MemoryEngine
from tests.kit.rooms import GUEST, Disk, compiled, open_rooms, version_of


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
def version() -> Version:
    return version_of(limits=replace(LIMITS, method_wall_s=10.0))


def call(name: str, *steps: list[Any]) -> list[Any]:
    return ["call", "PROBE", name, "run", [list(steps)]]


def fetch(name: str, *steps: list[Any]) -> list[Any]:
    return ["fetch", "PROBE", name, {"method": "POST", "body": json.dumps(steps)}]


def crossing(own: str, other: str) -> list[list[Any]]:
    """Holds its actor for a moment, so that the other has begun as well, then calls the other."""
    return [["put", "began", own], ["pause", 30], ["try", call(other, ["put", "called by", own])]]


async def test_two_turns_that_call_each_others_actor_are_told_at_once_and_one_of_them_gets_through(
    version: Version,
) -> None:
    async with open_rooms(version=version) as rooms:
        started = time.monotonic()
        results = await asyncio.gather(rooms.run("a", *crossing("a", "b")), rooms.run("b", *crossing("b", "a")))
        assert time.monotonic() - started < 5.0
        outcomes = [steps[2] for steps in results]
        (failed,) = [outcome for outcome in outcomes if "name" in outcome]
        assert failed["name"] == "ActorDeadlockError"
        assert (
            "Probe/a -> Probe/b -> Probe/a" in failed["message"] or "Probe/b -> Probe/a -> Probe/b" in failed["message"]
        )
        loser, winner = ("a", "b") if outcomes[0] is failed else ("b", "a")
        assert await rooms.run(loser, ["get", "called by"]) == [winner]
        assert await rooms.run(winner, ["get", "called by"]) == [None], "a call that was refused must not run later"


async def test_a_ring_of_three_is_found(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        ring = [("a", "b"), ("b", "c"), ("c", "a")]
        results = await asyncio.gather(*(rooms.run(own, *crossing(own, other)) for own, other in ring))
        errors = [steps[2]["name"] for steps in results if "name" in steps[2]]
        assert errors == ["ActorDeadlockError"]


async def test_a_ring_through_the_fetches_of_two_handlers_is_found(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        ring = [("a", "b"), ("b", "a")]
        scripts = [
            fetch(own, ["pause", 30], ["try", fetch(other, ["put", "called by", own])], ["put", "done", 1])
            for own, other in ring
        ]
        started = time.monotonic()
        replies = await asyncio.gather(*(rooms.handle(version, script) for script in scripts))
        assert time.monotonic() - started < 5.0
        tried = [json.loads(text)[1] for (text,) in replies]
        assert [one["name"] for one in tried if "name" in one] == ["ActorDeadlockError"]
        assert await asyncio.gather(*(rooms.run(name, ["get", "done"]) for name in "ab")) == [[1], [1]]


async def test_a_ring_through_a_nested_call_is_found(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        nested = rooms.run("a", ["pause", 30], ["try", call("b", ["pause", 30], call("c", ["put", "x", 1]))])
        other = rooms.run("c", ["pause", 30], ["pause", 60], ["try", call("a", ["put", "x", 1])])
        (_, first), (_, _, second) = await asyncio.gather(nested, other)
        names = [outcome.get("name") for outcome in (first, second)]
        assert names.count("ActorDeadlockError") == 1, (first, second)


async def test_waiting_for_a_busy_actor_that_will_be_free_is_no_deadlock(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        slow = rooms.run("b", ["pause", 60], ["put", "done", 1])
        waiting = rooms.run("a", ["pause", 10], call("b", ["get", "done"]))
        assert (await asyncio.gather(slow, waiting))[1] == [None, [1]]


async def test_a_turn_that_also_waits_for_a_timer_is_not_accused(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        holds = rooms.run("b", ["pause", 20], ["send", "PROBE", "a", "run", [[["put", "x", 1]]]], ["pause", 60])
        calls = rooms.run("a", ["pause", 30], call("b", ["put", "y", 1]))
        assert (await asyncio.gather(holds, calls))[1] == [None, [None]]
        assert await rooms.run("a", ["get", "x"]) == [1]


async def test_who_waits_for_an_answer_that_is_held_at_the_gate_is_not_stuck(version: Version) -> None:
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, version=version, slow_disk=True) as rooms:
        disk.hold()
        waits_for_the_gate = rooms.run("a", call("b", ["put", "x", 1]))
        await disk.at_work()
        await rooms.quiet()
        waits_for_that = rooms.run("b", ["try", call("a", ["put", "y", 1])])
        await rooms.quiet()
        disk.release()
        assert await asyncio.wait_for(waits_for_the_gate, 5) == [[None]]
        assert await asyncio.wait_for(waits_for_that, 5) == [{"ok": [None]}]
