"""Alarms in the rooms: due times, restarts, retries, and what of them is on the disk at every step."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from host.actors.alarms import BATCH
from host.model.clock import ManualClock
from host.model.errors import ActorMethodError
from host.model.ids import ActorId
from host.storage.keys import ALARMS, actor_key, dead_alarms_range, decode_actor, decode_alarm
from host.storage.memory import MemoryEngine
from host.storage.ports import Engine
from host.storage.records import decode_actor_record
from host.storage.rocks import RocksEngine
from tests.kit.rooms import GUEST, TENANT, Disk, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until

START_MS = 1_700_000_000_000.0


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


def index(engine: Engine) -> dict[str, tuple[int, int]]:
    """Name of the actor -> (due ms since the start, retry count) of the alarm index; each record says the same."""
    found = {}
    for key, count in engine.scan(*ALARMS):
        due_ms, actor = decode_alarm(key)
        record = engine.get(actor_key(actor))
        assert record is not None
        assert decode_actor_record(record).alarm_ms == due_ms
        assert actor.name not in found
        found[actor.name] = (due_ms - int(START_MS), int(count))
    return found


def dead(engine: Engine) -> dict[str, Any]:
    return {decode_actor(key).name: json.loads(value) for key, value in engine.scan(*dead_alarms_range(TENANT))}


async def fired(rooms: Rooms, name: str) -> list[list[Any]]:
    """[[seconds since the start, retry count, is it a retry], ...] of the alarms that were handled well."""
    times = (await rooms.run(name, ["get", "fired"]))[0] or []
    return [[(at - START_MS) / 1000, count, again] for at, count, again in times]


async def test_an_alarm_fires_when_it_is_due_and_not_before() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarmIn", 5000], ["getAlarm"])
        assert index(engine) == {"a": (5000, 0)}
        await rooms.advance(4.9)
        assert await fired(rooms, "a") == []
        await rooms.advance(0.2)
        assert [row[1:] for row in await fired(rooms, "a")] == [[0, False]]
        assert index(engine) == {}
        assert await rooms.run("a", ["getAlarm"]) == [None]
        await rooms.advance(60)
        assert len(await fired(rooms, "a")) == 1


async def test_a_wall_clock_that_is_set_forward_makes_alarms_due_within_a_second() -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarmIn", 3_000_000])
        await rooms.advance(0.1)
        clock._start += 3_000_000
        await rooms.advance(1)
        assert len(await fired(rooms, "a")) == 1


async def test_setting_an_alarm_replaces_it_and_deleting_it_ends_it() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarmIn", 5000])
        await rooms.run("a", ["setAlarmIn", 9000], ["setAlarmIn", 3000])
        await rooms.run("b", ["setAlarmIn", 1000])
        await rooms.run("b", ["deleteAlarm"])
        await rooms.run("c", ["setAlarmIn", 2000], ["put", "k", 1], ["deleteAll"])
        assert index(engine) == {"a": (3000, 0), "c": (2000, 0)}
        await rooms.advance(20, step_s=0.5)
        assert [len(await fired(rooms, name)) for name in "abc"] == [1, 0, 1]


async def test_an_alarm_in_the_past_fires_at_once() -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarm", 1])
        await rooms.run("b", ["setAlarm", -1])
        await rooms.advance(0.001)
        assert len(await fired(rooms, "a")) == len(await fired(rooms, "b")) == 1


async def test_a_turn_that_throws_sets_no_alarm_and_removes_none() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("b", ["setAlarmIn", 7000])
        for name, step in (("a", ["setAlarmIn", 1000]), ("b", ["deleteAlarm"]), ("b", ["setAlarmIn", 10])):
            with pytest.raises(ActorMethodError):
                await rooms.run(name, step, ["throw", "Error", "no"])
        assert index(engine) == {"b": (7000, 0)}


async def test_alarms_survive_a_restart_and_overdue_ones_fire_at_the_start_in_batches(tmp_path: Path) -> None:
    clock = ManualClock()
    count = 3 * BATCH + 5
    engine = RocksEngine(tmp_path / "db")
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        for n in range(count):
            await rooms.run(f"a{n}", ["setAlarmIn", 1000 + n])
        await rooms.run("later", ["setAlarmIn", 100_000])
    engine.close()
    clock.advance(50)
    engine = RocksEngine(tmp_path / "db")
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        assert 0 < rooms.alarms.waiting <= BATCH
        await wait_until(lambda: len(index(engine)) == 1, "the end of the overdue alarms")
        for n in range(count):
            assert [row[1:] for row in await fired(rooms, f"a{n}")] == [[0, False]]
        await rooms.advance(60)
        assert len(await fired(rooms, "later")) == 1
    engine.close()


async def test_an_alarm_whose_set_was_durable_fires_after_a_power_cut_and_one_that_was_not_is_gone() -> None:
    clock, memory = ManualClock(), MemoryEngine()
    disk = Disk(memory)
    async with open_rooms(disk, clock, version=version_of(), slow_disk=True) as rooms:
        await rooms.run("kept", ["setAlarmIn", 1000])
        disk.hold()
        unsaid = rooms.run("lost", ["setAlarmIn", 1000])
        await disk.at_work()
        assert not unsaid.done()
        left = MemoryEngine()
        left.write(list(memory._durable.items()))
        left.sync()
        disk.release()
        await unsaid
    clock.advance(10)
    async with open_rooms(left, clock, version=version_of()) as rooms:
        await wait_until(lambda: index(left) == {}, "the overdue alarm")
        assert len(await fired(rooms, "kept")) == 1
        assert await fired(rooms, "lost") == []


async def test_an_alarm_whose_commit_was_lost_fires_again() -> None:
    clock, memory = ManualClock(), MemoryEngine()
    disk = Disk(memory)
    async with open_rooms(disk, clock, version=version_of(), slow_disk=True) as rooms:
        await rooms.run("a", ["setAlarmIn", 1000])
        disk.hold()
        await rooms.advance(1)
        await disk.at_work()
        left = MemoryEngine()
        left.write(list(memory._durable.items()))
        left.sync()
        disk.release()
    async with open_rooms(left, clock, version=version_of()) as rooms:
        await wait_until(lambda: index(left) == {}, "the alarm, again")
        assert [row[1:] for row in await fired(rooms, "a")] == [[0, False]]


async def test_rearming_inside_the_handler_makes_a_chain() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("a", ["put", "on-alarm", [["getAlarm"], ["setAlarmIn", 2000]]], ["setAlarmIn", 2000])
        await rooms.advance(9, step_s=0.5)
        assert await fired(rooms, "a") == [[t, 0, False] for t in (2, 4, 6, 8)]
        assert index(engine) == {"a": (10_000, 0)}


async def test_a_failing_alarm_is_retried_at_1_2_4_8_16_32_s_and_then_kept_as_dead() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        script = [["call", "PROBE", "witness", "run", [[["put", "tries", 1]]]], ["throw", "TypeError", "always"]]
        await rooms.run("a", ["put", "on-alarm", script], ["setAlarmIn", 1000])
        seen = []
        for _ in range(700):
            entry = index(engine).get("a")
            if entry is not None and (not seen or seen[-1] != entry):
                seen.append(entry)
            await rooms.advance(0.1)
        dues = [due / 1000 for due, _ in seen]
        waits = [round(later - earlier) for earlier, later in pairwise(dues)]
        assert waits == [1, 2, 4, 8, 16, 32]
        assert [count for _, count in seen] == [0, 1, 2, 3, 4, 5, 6]
        assert index(engine) == {}
        assert list(dead(engine)) == ["a"]
        assert dead(engine)["a"]["error"] == "ActorMethodError"
        assert dead(engine)["a"]["message"] == "always"
        assert await fired(rooms, "a") == []
        record = engine.get(actor_key(ActorId(TENANT, "Probe", "a")))
        assert record is not None
        assert decode_actor_record(record).alarm_ms is None


async def test_a_retry_that_succeeds_knows_that_it_is_one() -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, version=version_of()) as rooms:
        await rooms.run("a", ["put", "on-alarm", [["throw", "Error", "no"]]], ["setAlarmIn", 1000])
        await rooms.advance(1.5, step_s=0.5)
        await rooms.run("a", ["put", "on-alarm", []])
        await rooms.advance(10, step_s=0.5)
        assert [row[1:] for row in await fired(rooms, "a")] == [[1, True]]


async def test_a_retry_wait_survives_a_restart() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("a", ["put", "on-alarm", [["throw", "Error", "no"]]], ["setAlarmIn", 1000])
        await rooms.advance(2.5, step_s=0.5)
        before = index(engine)
        assert before["a"][1] == 2
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        assert index(engine) == before
        await rooms.advance(2.5, step_s=0.5)
        assert index(engine)["a"][1] == 3


async def test_an_alarm_that_was_replaced_while_its_turn_waited_leaves_the_new_one_alone() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        for name, step in (("moved", ["setAlarmIn", 60_000]), ("gone", ["deleteAlarm"])):
            await rooms.run(name, ["setAlarmIn", 1000])
            busy = rooms.run(name, ["pause", 2000], step)
            await rooms.advance(3, step_s=0.5)
            await busy
            assert await fired(rooms, name) == []
            clock._start -= 3000  # the next round sees the same times
        assert set(index(engine)) == {"moved"}
        await rooms.advance(70, step_s=1)
        assert len(await fired(rooms, "moved")) == 1
        assert await fired(rooms, "gone") == []


async def test_a_failed_alarm_that_is_moved_while_another_turn_runs_stays_one_alarm() -> None:
    clock, memory = ManualClock(), MemoryEngine()
    disk = Disk(memory)
    async with open_rooms(disk, clock, version=version_of(), slow_disk=True) as rooms:
        await rooms.run("a", ["put", "on-alarm", [["throw", "Error", "no"]]], ["setAlarmIn", 1000])
        disk.hold()
        write = rooms.run("a", ["put", "k", 1])
        await disk.at_work()
        await rooms.advance(1)  # the alarm's turn fails; its answer waits behind the write
        other = rooms.run("a", ["put", "on-alarm", []], ["pause", 500], ["put", "k", 2])
        await rooms.quiet()
        disk.release()
        await write
        await wait_until(lambda: index(memory).get("a", (0, 0))[1] == 1, "the move of the alarm")
        await rooms.advance(0.6)
        await other
        assert index(memory)["a"][1] == 1
        await rooms.advance(30, step_s=0.5)
        assert [row[1:] for row in await fired(rooms, "a")] == [[1, True]]
        assert index(memory) == {}


async def test_hundreds_of_overdue_alarms_of_a_deleted_function_die_in_time_and_harm_nobody() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        for n in range(300):
            await rooms.run(f"a{n}", ["setAlarmIn", 1000])
        rooms.retire(next(iter(rooms.serving.values())))
        other = rooms.serve(version_of(tenant="other"))
        await rooms.run("theirs", ["setAlarmIn", 5000], tenant="other")
        assert other.tenant == "other"
        await rooms.advance(100, step_s=1)
        assert len(dead(engine)) == 300
        assert {record["error"] for record in dead(engine).values()} == {"ActorTypeNotFoundError"}
        assert index(engine) == {}
        assert (await rooms.run("theirs", ["get", "fired"], tenant="other"))[0] is not None
        assert rooms.directory._actors.keys() <= {ActorId("other", "Probe", "theirs")}


async def test_a_host_that_stops_in_an_alarm_counts_no_try_and_fires_it_again_at_the_next_start() -> None:
    clock, engine = ManualClock(), MemoryEngine()
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.run("a", ["put", "on-alarm", [["pause", 5000]]], ["setAlarmIn", 1000])
        await rooms.run("b", ["put", "on-alarm", [["pause", 5000]]], ["setAlarmIn", 1000])
        await rooms.advance(2, step_s=0.5)
        assert rooms.alarms.waiting == 2
    assert index(engine) == {"a": (1000, 0), "b": (1000, 0)}
    async with open_rooms(engine, clock, version=version_of()) as rooms:
        await rooms.advance(6, step_s=0.5)
        assert [row[1:] for row in await fired(rooms, "a")] == [[0, False]]


async def test_a_broken_disk_stops_the_alarms_instead_of_trying_for_ever() -> None:
    clock = ManualClock()
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarmIn", 1000])
        disk.sync_error = OSError("gone")
        await rooms.advance(60, step_s=1)
        assert rooms.committer.broken
        assert rooms.alarms.waiting == 0
        assert set(index(disk.engine)) <= {"a"}


async def test_an_alarm_whose_commit_fails_is_tried_again_when_the_disk_takes_writes_again() -> None:
    clock = ManualClock()
    disk = Disk(MemoryEngine())
    async with open_rooms(disk, clock, version=version_of()) as rooms:
        await rooms.run("a", ["setAlarmIn", 1000])
        disk.write_error = OSError("no space left")
        await rooms.advance(10, step_s=0.5)
        assert index(disk.engine) == {"a": (1000, 0)}
        disk.write_error = None
        await rooms.advance(5, step_s=0.5)
        assert [row[1:] for row in await fired(rooms, "a")] == [[0, False]]
