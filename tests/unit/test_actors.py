"""Actors in the rooms, with real guests: turns, their order, their atomicity, their life in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.model.clock import ManualClock
from host.model.errors import (
    ActorCrashedError,
    ActorMethodError,
    ActorMethodTimeoutError,
    ActorOverloadedError,
    ActorTypeNotFoundError,
    BlockConcurrencyTimeoutError,
)
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS, LIMITS
from host.model.version import Version
from host.storage.keys import actor_key, state_range
from host.storage.memory import MemoryEngine
from host.storage.records import decode_actor_record
from host.storage.rocks import RocksEngine
from tests.kit.rooms import GUEST, TENANT, Rooms, compiled, open_rooms, version_of

CRASHES: dict[str, list[Any]] = {
    "a throw": ["throw", "Error", "no"],
    "a trap": ["recurse"],
    "a hoard": ["hoard"],
    "a CPU limit": ["spin"],
    "a promise that never settles": ["stall"],
}


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
def version() -> Version:
    return version_of(limits=replace(LIMITS, call_cpu_s=0.3, memory_bytes_max=32 << 20))


def stored(engine: MemoryEngine, name: str) -> dict[bytes, bytes]:
    start, end = state_range(ActorId(TENANT, "Probe", name))
    return {key[len(start) :]: value for key, value in engine.scan(start, end)}


# --- one turn at a time -----------------------------------------------------------------------------------------------


async def test_a_turn_runs_alone_across_its_awaits(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        first, second = rooms.invoke("a", "hold", "one", 1000), rooms.invoke("a", "hold", "two", 10)
        await rooms.advance(5, step_s=0.5)
        assert await first == ["one begins", "one ends"]
        assert await second == ["one begins", "one ends", "two begins", "two ends"]
        assert rooms.directory.activations == 1


async def test_different_actors_overlap(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        calls = [rooms.invoke(f"a{n}", "hold", "x", 1000) for n in range(20)]
        await rooms.quiet()
        assert rooms.scheduler.calls == 20
        await rooms.advance(1.0)
        assert all(call.done() for call in calls)


async def test_calls_of_one_caller_run_in_the_order_they_were_made(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        steps = [["call", "PROBE", "log", "add", [n]] for n in range(60)]
        results = await rooms.handle(version, ["all", steps])
        assert results[0][-1] == list(range(60))
        assert results[0] == [list(range(n + 1)) for n in range(60)]


async def test_calls_started_together_wait_at_the_same_time(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        steps = [["call", "PROBE", f"p{n}", "hold", ["x", 1000]] for n in range(10)]
        reply = rooms.fetch(version, ["all", steps])
        await rooms.quiet()
        assert rooms.scheduler.calls == 11
        await rooms.advance(1.0)
        assert (await reply).status == 200


async def test_500_concurrent_debits_on_an_account_of_300_never_overdraw(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db")
    version = version_of()
    async with open_rooms(engine, version=version) as rooms:
        await rooms.invoke("rich", "deposit", 300, type="Account")
        debits = [rooms.fetch(version, ["call", "ACCOUNT", "rich", "debit", [1]]) for _ in range(500)]
        bodies = [reply.body for reply in await asyncio.gather(*debits)]
        assert sum(b'"ok":true' in body for body in bodies) == 300
        assert sum(b'"ok":false,"balance":0' in body for body in bodies) == 200
        assert await rooms.invoke("rich", "deposit", 0, type="Account") == 0
    engine.close()


async def test_a_timer_left_behind_by_one_turn_does_not_run_in_the_next(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        await rooms.run("a", ["send", "PROBE", "b", "hold", ["x", 1000]])
        holding = rooms.invoke("a", "hold", "one", 2000)
        await rooms.advance(3, step_s=0.5)
        assert await holding == ["one begins", "one ends"]


# --- a turn is atomic -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", CRASHES)
async def test_a_turn_that_fails_commits_nothing(version: Version, how: str) -> None:
    engine = MemoryEngine()
    async with open_rooms(engine, version=version) as rooms:
        await rooms.run("a", ["put", "kept", 1], ["put", "gone", 1])
        before = stored(engine, "a")
        with pytest.raises(ActorMethodError if how == "a throw" else ActorCrashedError):
            await rooms.run(
                "a",
                *(["put", "kept", 2], ["delete", "gone"], ["put", "new", 1], ["setAlarmIn", 1000]),
                *(["transaction", [["put", "inner", 1]]], ["deleteAll"], ["put", "last", 1], CRASHES[how]),
            )
        assert stored(engine, "a") == before
        assert await rooms.run("a", ["list", {}], ["getAlarm"]) == [[["gone", 1], ["kept", 1]], None]
        assert rooms.alarms.waiting == 0


async def test_a_turn_that_times_out_commits_nothing_and_the_next_gets_a_fresh_activation(version: Version) -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version) as rooms:
        await rooms.run("a", ["remember", "before"])
        slow = rooms.run("a", ["put", "k", 1], ["pause", 40_000])
        waiting = rooms.run("a", ["remember", "after"], ["get", "k"])
        await rooms.advance(31)
        with pytest.raises(ActorMethodTimeoutError, match=r"run\(\) of Probe 'a' took longer than 30 s"):
            await slow
        assert await waiting == [["after"], None]
        assert stored(engine, "a") == {}


async def test_a_turn_reads_its_own_writes_and_list_sees_its_puts_and_deletes(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await rooms.run("a", ["put", {"a": 1, "b": 2, "c": 3}])
        assert await rooms.run(
            "a",
            *(["put", "b", 20], ["delete", "c"], ["put", "d", 4], ["delete", "nothing"]),
            *(["get", "b"], ["get", "c"], ["list", {}], ["list", {"reverse": True, "limit": 2}]),
            *(["deleteAll"], ["list", {}], ["get", "a"], ["put", "z", 1], ["list", {}]),
        ) == [
            *(None, True, None, False),
            *(20, None, [["a", 1], ["b", 20], ["d", 4]], [["d", 4], ["b", 20]]),
            *(None, [], None, None, [["z", 1]]),
        ]
        assert await rooms.run("a", ["list", {}]) == [[["z", 1]]]


async def test_a_transaction_that_throws_drops_its_own_writes_and_the_turn_goes_on(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        results = await rooms.run(
            "a",
            ["put", "outer", 1],
            ["try", ["transaction", [["put", "inner", 1], ["put", "outer", 2], ["throw", "TypeError", "no"]]]],
            ["transaction", [["put", "rolled", 1], ["rollback"]]],
            ["transaction", [["put", "poured", 1], ["get", "outer"], ["list", {}]]],
        )
        assert results[1]["name"] == "TypeError"
        assert results[3] == [None, 1, [["outer", 1], ["poured", 1]]]
        assert await rooms.run("a", ["list", {}]) == [[["outer", 1], ["poured", 1]]]


# --- constructors -----------------------------------------------------------------------------------------------------


async def boot(rooms: Rooms, name: str, *steps: list[Any]) -> None:
    """The next activation of `name` runs `steps` in its constructor."""
    await rooms.run(name, ["put", "boot", list(steps)])
    rooms.directory.reset(ActorId(TENANT, "Probe", name))
    assert rooms.directory.activations == 0


async def test_what_a_constructor_wrote_is_kept_when_the_first_method_throws(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await boot(rooms, "a", ["put", "made", True], ["remember", "constructed"])
        with pytest.raises(ActorMethodError, match="no"):
            await rooms.run("a", ["put", "lost", 1], ["throw", "Error", "no"])
        assert await rooms.run("a", ["remember", "again"]) == [["constructed", "again"]]
        assert [key for key, _ in (await rooms.run("a", ["list", {}]))[0]] == ["boot", "made"]


async def test_what_a_constructor_wrote_is_kept_when_the_first_method_crashes_and_its_caller_is_told_at_once(
    version: Version,
) -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version) as rooms:
        await boot(rooms, "a", ["put", "made", True])
        slow = rooms.run("a", ["put", "lost", 1], ["pause", 40_000])
        await rooms.advance(31)
        assert slow.done()  # nobody else runs: the sync that its answer waits for is nobody else's to start
        with pytest.raises(ActorMethodTimeoutError):
            await slow
        assert set(stored(engine, "a")) == {b"boot", b"made"}
        engine.crash()
        assert set(stored(engine, "a")) == {b"boot", b"made"}


async def test_a_constructor_that_throws_fails_the_call_and_the_next_call_tries_afresh(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await boot(rooms, "a", ["put", "half", 1], ["throw", "RangeError", "not today"])
        for _ in range(2):
            with pytest.raises(ActorMethodError, match="not today") as caught:
                await rooms.run("a", ["put", "never", 1])
            assert caught.value.cause == "RangeError"
            assert rooms.directory.activations == 0
        assert set(stored(rooms.engine, "a")) == {b"boot"}  # type: ignore[arg-type]


async def test_a_constructor_that_blocks_too_long_is_dropped_with_its_own_error(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        await boot(rooms, "a", ["put", "half", 1], ["pause", 60_000])
        call = rooms.run("a", ["get", "half"])
        await rooms.advance(31)
        with pytest.raises(BlockConcurrencyTimeoutError, match="30 s"):
            await call
        assert rooms.directory.activations == 0


# --- life in memory ---------------------------------------------------------------------------------------------------


async def settled(rooms: Rooms) -> None:
    await rooms.committer.drain()
    await rooms.quiet()


async def test_idle_actors_leave_memory_and_come_back_with_their_state(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        await asyncio.gather(*(rooms.run(f"a{n}", ["put", "n", n], ["remember", "x"]) for n in range(100)))
        assert (rooms.directory.activations, rooms.sandbox.stores) == (100, 100)
        await rooms.advance(30)
        await rooms.run("a7", ["remember", "y"])
        await rooms.advance(40, step_s=0.5)
        assert (rooms.directory.activations, rooms.sandbox.stores) == (1, 1)
        assert await rooms.run("a8", ["get", "n"], ["remember", "z"]) == [8, ["z"]]
        assert await rooms.run("a7", ["get", "n"], ["remember", "z"]) == [7, ["x", "y", "z"]]
        await rooms.advance(120, step_s=0.5)
        assert (rooms.directory.activations, rooms.sandbox.stores) == (0, 0)
        assert rooms.directory._actors == {}


async def test_the_longest_idle_actor_makes_room_for_a_new_one(version: Version) -> None:
    limits = replace(HOST_LIMITS, activations_max=5)
    async with open_rooms(clock=ManualClock(), limits=limits, version=version) as rooms:
        for n in range(50):
            assert await rooms.run(f"a{n}", ["put", "n", n], ["get", "n"]) == [None, n]
            assert rooms.directory.activations <= 5
        for n in range(50):
            assert await rooms.run(f"a{n}", ["get", "n"]) == [n]
        assert rooms.sandbox.stores == 5


async def test_no_room_and_nobody_idle_is_an_overload(version: Version) -> None:
    clock, limits = ManualClock(), replace(HOST_LIMITS, activations_max=3)
    async with open_rooms(clock=clock, limits=limits, version=version) as rooms:
        busy = [rooms.invoke(f"a{n}", "hold", "x", 1000) for n in range(3)]
        with pytest.raises(ActorOverloadedError, match="busy"):
            await rooms.run("one-more")
        await rooms.advance(1)
        await asyncio.gather(*busy)
        await rooms.run("one-more")
        assert rooms.directory.activations == 3


async def test_an_actor_without_an_activation_counts_again_when_it_is_called(version: Version) -> None:
    clock, limits = ManualClock(), replace(HOST_LIMITS, activations_max=2)
    async with open_rooms(clock=clock, limits=limits, version=version) as rooms:
        with pytest.raises(ActorCrashedError):
            await rooms.run("crashed", ["recurse"])
        busy = [rooms.invoke(f"a{n}", "hold", "x", 500) for n in range(2)]
        with pytest.raises(ActorOverloadedError):
            await rooms.run("crashed")
        await rooms.advance(1)
        await asyncio.gather(*busy)
        await rooms.run("crashed")
        assert rooms.directory.activations == 2


async def test_a_full_mailbox_refuses_at_once_and_takes_calls_again_when_it_has_drained() -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version_of(limits=replace(LIMITS, mailbox_turns_max=10))) as rooms:
        running = rooms.invoke("a", "hold", "x", 1000)
        waiting = [rooms.invoke("a", "add", n) for n in range(10)]
        refused = rooms.invoke("a", "add", 10)
        assert refused.done()
        with pytest.raises(ActorOverloadedError, match="10 calls waiting"):
            await refused
        await rooms.advance(1)
        await running
        assert (await asyncio.gather(*waiting))[-1] == list(range(10))
        assert (await rooms.invoke("a", "add", "later"))[-1] == "later"


async def test_refused_calls_leave_nothing_behind() -> None:
    clock = ManualClock()
    version = version_of(limits=replace(LIMITS, call_depth_max=1))
    async with open_rooms(clock=clock, version=version) as rooms:
        for n in range(20):
            results = await rooms.run("a", ["try", ["call", "PROBE", f"b{n}", "whoami"]])
            assert results[0]["name"] == "ActorDeadlockError"
        await settled(rooms)
        assert list(rooms.directory._actors) == [ActorId(TENANT, "Probe", "a")]


# --- deploys ----------------------------------------------------------------------------------------------------------


async def test_a_running_turn_ends_on_the_old_version_and_the_queue_goes_on_with_the_new(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        running = rooms.run("a", ["pause", 1000], ["var", "RELEASE"], ["put", "k", 1])
        waiting = [rooms.run("a", ["var", "RELEASE"], ["get", "k"]) for _ in range(5)]
        await rooms.quiet()
        rooms.serve(version_of(RELEASE="two"))
        await rooms.advance(1)
        assert await running == [None, "one", None]
        assert await asyncio.gather(*waiting) == [["two", 1]] * 5
        assert rooms.sandbox.stores == 1


async def test_an_idle_actor_takes_the_new_version_at_its_next_turn(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        assert await rooms.run("a", ["var", "RELEASE"], ["remember", "x"]) == ["one", ["x"]]
        rooms.serve(version_of(RELEASE="two"))
        assert await rooms.run("a", ["var", "RELEASE"], ["remember", "y"]) == ["two", ["y"]]


async def test_turns_that_wait_when_their_function_is_deleted_are_told_that_the_type_is_gone(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        running = rooms.invoke("a", "hold", "x", 1000)
        waiting = [rooms.run("a") for _ in range(3)]
        await rooms.quiet()
        rooms.retire(version)
        late = rooms.run("a")
        await rooms.advance(1)
        assert await running == ["x begins", "x ends"]
        for call in (*waiting, late):
            with pytest.raises(ActorTypeNotFoundError, match="exports an actor class Probe"):
                await call
        assert rooms.sandbox.stores == 0


async def test_an_artifact_that_cannot_be_loaded_fails_the_call_and_names_no_path(version: Version) -> None:
    async with open_rooms(version=replace(version, artifact="/nowhere/x.cwasm")) as rooms:
        with pytest.raises(ActorCrashedError, match="ship its function again") as caught:
            await rooms.run("a")
        assert "nowhere" not in caught.value.detail


# --- the end of a host ------------------------------------------------------------------------------------------------


async def test_a_host_that_stops_answers_every_call_and_starts_none(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version) as rooms:
        running = [rooms.run(f"a{n}", ["put", "k", 1], ["pause", 10_000]) for n in range(3)]
        waiting = [rooms.run(f"a{n}", ["put", "k", 2]) for n in range(3)]
        through = rooms.fetch(version, ["call", "PROBE", "a0", "whoami"])
        await rooms.quiet()
    assert through.done()
    assert through.exception() is not None
    for calls, error in ((running, ActorCrashedError), (waiting, ActorOverloadedError)):
        for call in calls:
            assert isinstance(call.exception(), error)
    assert rooms.sandbox.stores == 0


async def test_state_survives_a_restart(tmp_path: Path, version: Version) -> None:
    for expected in (1, 2, 3):
        engine = RocksEngine(tmp_path / "db")
        async with open_rooms(engine, version=version) as rooms:
            assert len(await rooms.invoke("a", "add", "x")) == expected
        engine.close()


async def test_the_record_of_an_actor_counts_its_bytes(version: Version) -> None:
    engine = MemoryEngine()
    async with open_rooms(engine, version=version) as rooms:
        await rooms.run("a", ["put", "key", "value"], ["put", "k", 1])
        await rooms.run("a", ["put", "key", "v"], ["delete", "k"])
        record = engine.get(actor_key(ActorId(TENANT, "Probe", "a")))
        assert record is not None
        assert decode_actor_record(record).bytes_used == len("key") + len('"v"')
