"""The gate: no answer leaves before what it rests on is durable. Syncs are held open, fail, and the power goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from host.model.clock import ManualClock
from host.model.errors import ActorCrashedError, ActorMethodError, ActorOutputGateError
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS, HostLimits
from host.storage.keys import state_prefix
from host.storage.memory import MemoryEngine
from tests.kit.rooms import GUEST, TENANT, Disk, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@asynccontextmanager
async def held(clock: ManualClock | None = None, limits: HostLimits = HOST_LIMITS) -> AsyncIterator[tuple[Rooms, Disk]]:
    """Rooms in which the sync of one write to the actor `other` is held open."""
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, clock, limits, version=version_of(), slow_disk=True) as rooms:
        disk.hold()
        other = rooms.run("other", ["put", "k", 1])
        await disk.at_work()
        try:
            yield rooms, disk
        finally:
            disk.release()
            await asyncio.wait([other])


async def several_moments(rooms: Rooms) -> None:
    """Enough of the loop for anything that could leave to have left."""
    for _ in range(20):
        await rooms.quiet()


async def test_output_gate_holds_reply_until_commit() -> None:
    async with held() as (rooms, disk):
        order: list[str] = []
        calls = {
            "write": rooms.invoke("a", "add", 1),
            "read": rooms.run("a", ["get", "items"]),
            "throw": rooms.run("a", ["throw", "Error", "no"]),
            "crash": rooms.run("a", ["recurse"]),
            "second write": rooms.invoke("a", "add", 2),
            "fetch": rooms.fetch_actor("a", ["get", "items"]),
        }
        for name, call in calls.items():
            call.add_done_callback(lambda _, name=name: order.append(name))
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of all turns")
        await several_moments(rooms)
        assert order == []
        disk.release()
        await asyncio.wait(calls.values())
        assert order == list(calls)
        assert await calls["write"] == [1]
        assert await calls["read"] == [[1]]  # the next turn began before the sync and saw the write
        assert isinstance(calls["throw"].exception(), ActorMethodError)
        assert isinstance(calls["crash"].exception(), ActorCrashedError)
        assert await calls["second write"] == [1, 2]
        assert await calls["fetch"] == [[1, 2]]


async def test_an_actor_that_wrote_nothing_answers_while_another_waits_for_its_sync() -> None:
    async with held() as (rooms, _):
        assert await asyncio.wait_for(rooms.run("a", ["get", "k"]), 5) == [None]


async def test_a_reply_that_carries_what_another_actor_wrote_waits_for_that_write() -> None:
    async with held() as (rooms, disk):
        outer = rooms.run("reader", ["call", "PROBE", "a", "add", [1]])
        await several_moments(rooms)
        assert not outer.done()
        disk.release()
        assert await outer == [[1]]


async def test_a_failed_sync_fails_every_reply_behind_it_and_drops_the_activation() -> None:
    async with held() as (rooms, disk):
        writes = [rooms.invoke("a", "add", n) for n in range(3)]
        read = rooms.run("a", ["get", "items"])
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of all turns")
        disk.sync_error = OSError("I/O error on /dev/secret")
        disk.release()
        for call in (*writes, read):
            with pytest.raises(ActorOutputGateError) as caught:
                await call
            assert "secret" not in caught.value.detail
        assert rooms.directory.activations == 0
        with pytest.raises(ActorOutputGateError):
            await rooms.invoke("a", "add", 9)
        with pytest.raises(ActorOutputGateError):
            await rooms.run("a", ["get", "items"])
        assert disk.engine.scan(b"\x12", b"\x13") == []


async def test_a_guest_reads_the_gates_error_by_its_name() -> None:
    async with held() as (rooms, disk):
        outer = rooms.run("reader", ["try", ["call", "PROBE", "a", "add", [1]]])
        await several_moments(rooms)
        disk.sync_error = OSError("gone")
        disk.release()
        assert (await outer)[0]["name"] == "ActorOutputGateError"


async def test_a_failed_write_fails_its_own_turn_only() -> None:
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, version=version_of()) as rooms:
        assert await rooms.run("a", ["put", "k", 1], ["remember", "x"]) == [None, ["x"]]
        disk.write_error = OSError("no space left on /dev/secret")
        with pytest.raises(ActorOutputGateError, match="nothing of it was kept"):
            await rooms.run("a", ["put", "k", 2])
        assert rooms.directory.activations == 0
        assert await rooms.run("b", ["get", "k"]) == [None]
        disk.write_error = None
        assert await rooms.run("a", ["get", "k"], ["remember", "y"], ["put", "k", 3]) == [1, ["y"], None]
        assert await rooms.run("a", ["get", "k"]) == [3]


async def test_an_engine_that_cannot_read_fails_the_call_and_not_the_host() -> None:
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, version=version_of()) as rooms:
        await rooms.run("a", ["put", "k", 1])
        disk.read_error = OSError("/dev/secret")
        for name in ("a", "unseen"):
            with pytest.raises(ActorCrashedError) as caught:
                await rooms.run(name, ["get", "other"])
            assert "secret" not in caught.value.detail
        disk.read_error = None
        assert await rooms.run("a", ["get", "k"]) == [1]


@pytest.mark.parametrize("acknowledged_first", [0, 10, 25, 40])
async def test_after_a_power_cut_nothing_acknowledged_is_missing(acknowledged_first: int) -> None:
    memory = MemoryEngine()
    disk = Disk(memory)
    acknowledged: dict[str, int] = {}

    def note(name: str, done: asyncio.Future[int]) -> None:
        acknowledged[name] = done.result()

    async with open_rooms(disk, version=version_of(), slow_disk=True) as rooms:
        calls: list[asyncio.Future[int]] = []
        for n in range(60):
            if n == acknowledged_first:
                await asyncio.gather(*calls)
                disk.hold()
            call = rooms.invoke(f"a{n % 7}", "deposit", 1, type="Account")
            call.add_done_callback(partial(note, f"a{n % 7}"))
            calls.append(call)
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of all turns")
        promised, left = dict(acknowledged), _after_power_cut(memory)
        disk.release()
        await asyncio.gather(*calls)
    assert sum(acknowledged.values()) > sum(promised.values()) >= acknowledged_first // 7
    async with open_rooms(left, version=version_of()) as rooms:
        for name in (f"a{n}" for n in range(7)):
            # what was held was neither promised nor synced
            assert await rooms.invoke(name, "deposit", 0, type="Account") == promised.get(name, 0)


def _after_power_cut(memory: MemoryEngine) -> MemoryEngine:
    """What a power cut at this moment would leave, on a disk of its own."""
    left = MemoryEngine()
    left.write(list(memory._durable.items()))
    left.sync()
    return left


async def test_an_actor_with_unsynced_writes_is_neither_evicted_nor_forgotten() -> None:
    clock = ManualClock()
    limits = replace(HOST_LIMITS, activations_max=2)
    async with held(clock, limits) as (rooms, disk):
        write = rooms.invoke("a", "add", 1)
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of the turn")
        actor = rooms.directory._actors[ActorId(TENANT, "Probe", "a")]
        await rooms.advance(300, step_s=10)
        refused = rooms.run("b")
        assert refused.done()
        assert "busy" in str(refused.exception())
        assert rooms.directory._actors[actor.id] is actor
        read = rooms.run("a", ["get", "items"])
        await several_moments(rooms)
        assert not read.done()
        disk.release()
        assert await write == [1]
        assert await read == [[1]]
        await rooms.run("b")
        assert rooms.directory.activations <= 2


async def test_an_answer_waits_for_its_actors_writes_even_after_the_activation_was_dropped() -> None:
    async with held() as (rooms, disk):
        write = rooms.invoke("a", "add", 1)
        crash = rooms.run("a", ["recurse"])
        fresh = rooms.run("a", ["remember", "x"], ["get", "items"])
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of all turns")
        await several_moments(rooms)
        assert not any(call.done() for call in (write, crash, fresh))
        disk.release()
        assert await fresh == [["x"], [1]]
        assert crash.done()


async def test_one_sync_serves_all_turns_that_end_while_another_is_under_way() -> None:
    async with held() as (rooms, disk):
        before = disk.syncs
        calls = [rooms.invoke(f"a{n}", "add", 1) for n in range(200)]
        await wait_until(lambda: rooms.scheduler.calls == 0, "the end of all turns")
        disk.release()
        await asyncio.gather(*calls)
        assert disk.syncs - before <= 3
        prefix = state_prefix(ActorId(TENANT, "Probe", "a7"))
        assert disk.engine.get(prefix + b"items") == b"[1]"
