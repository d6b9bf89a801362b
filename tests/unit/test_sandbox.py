"""One guest's life on the real engine: calls, reuse, limits, and that nothing is left of it however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from host.model.clock import ManualClock
from host.model.limits import LIMITS, MiB
from host.sandbox.call import NO_STORAGE
from host.sandbox.engine import SandboxError
from host.sandbox.instance import ALARM, FETCH, INVOKE
from host.sandbox.scheduler import BURNER_NICE
from tests.kit import raw
from tests.kit.until import wait_until

CPU = replace(LIMITS, call_cpu_s=0.1)


async def test_an_instance_answers_every_export_and_is_used_again() -> None:
    async with raw.probing() as room:
        instance = room.instance()
        assert [await room.value("count", instance=instance) for _ in range(3)] == [1, 2, 3]
        assert await room.value("count") == 1
        fetched = await room.begin(FETCH, b"PUT", b"http://x/", b"a: b\n", b"body", False, instance=instance).outcome()
        assert (fetched.kind, fetched.response) == ("responded", (200, b"a: b\n", b"PUT http://x/ body", False))
        assert (await room.begin(ALARM, 3, instance=instance).outcome()).kind == "returned"
        assert room.world.lines == [("info", "alarm 3")]
        assert not instance.running
        assert room.engine.fibers == 0
        assert await room.value("fetches", instance=instance) == [201, "made"]


async def test_what_a_guest_throws_is_told_by_name_message_and_stack_and_the_instance_lives() -> None:
    async with raw.probing() as room:
        instance = room.instance()
        outcome = await room.call("throws", "RangeError", "too far", instance=instance)
        assert (outcome.kind, outcome.name, outcome.message) == ("failed", "RangeError", "too far")
        assert "guest" in outcome.stack or "throws" in outcome.stack
        assert await room.value("count", instance=instance) == 1


async def test_a_guest_reaches_storage_clock_config_and_random() -> None:
    clock = ManualClock(1000.0)
    async with raw.probing(clock) as room:
        assert await room.value("storage") == {
            "listed": [["a", 1], ["b", 3], ["é", 2]],
            "gone": [True, False],
            "alarm": 12.5,
            "cleared": None,
            "rest": "[]",
        }
        assert await room.value("refused", "k") == ["RangeError", "an empty value \N{SNOWMAN}"]
        assert await room.value("config") == {"function": "probe"}
        assert await room.value("now") == [1000.0, 0.0]
        clock.advance(1.5)
        assert await room.value("now") == [2500.0, 1500.0]
        assert await room.value("randomBytes", 65_536) == 87_384  # base64 of 65,536 bytes


@pytest.mark.parametrize("size", [0, 1, MiB, 10 * MiB])
async def test_strings_cross_whole_in_both_directions(size: int) -> None:
    text = ('nul \0, quote ", \N{GRINNING FACE}, é; ' * (size // 32 + 1))[:size]
    async with raw.probing() as room:
        assert await room.value("echo", text) == text
        assert await room.value("put", "k\0" + text[:16], text or "x") == (text or "x")


async def test_overlapping_timers_end_in_the_order_of_time() -> None:
    clock = ManualClock()
    async with raw.probing(clock) as room:
        running = room.start("overlap", 30, 10, 20)
        for _ in range(3):
            await _quiet(room)
            clock.advance(0.010)
        outcome = await running.outcome()
        assert json.loads(outcome.value) == [10, 20, 30]


async def test_a_thousand_generations_of_microtasks_see_no_outcome_early() -> None:
    async with raw.probing() as room:
        assert await room.value("generations", 1000) == {"early": [], "generation": 999}


async def test_a_thousand_operations_run_at_once_and_one_more_is_refused() -> None:
    async with raw.probing() as room:
        assert await room.value("asksMany", 1000) == list(range(1000))
        outcome = await room.call("asksMany", 1001)
        assert (outcome.kind, outcome.message) == ("crashed", "more than 1000 operations under way at once")


async def test_a_cancelled_timer_is_never_delivered() -> None:
    async with raw.probing() as room:
        assert await room.value("cancelled") is False


async def test_operations_of_an_earlier_call_are_not_mistaken_for_those_of_the_next() -> None:
    async with raw.probing() as room:
        instance = room.instance()
        held: list[tuple[Any, int]] = []
        room.world.asked = lambda call, operation, _: held.append((call, operation))
        first = room.start("asks", 1, instance=instance)
        await wait_until(lambda: held, "the operation")
        first.call.cancel()
        again = room.instance()
        assert await room.value("count", instance=again) == 1
        room.world.asked = raw.echo_soon
        assert await room.value("asks", 1, instance=again) == 1
        assert await room.value("asks", 2, instance=again) == 2
        numbers = [operation for _, operation in room.world.operations[1:]]
        assert len(set(numbers)) == len(numbers)


# Limits.


@pytest.mark.parametrize("method", ["spin", "storm"])
async def test_a_guest_that_burns_is_stopped_at_its_cpu_limit(method: str) -> None:
    async with raw.probing() as room:
        outcome = await room.call(method, limits=CPU)
        assert (outcome.kind, outcome.message) == ("crashed", "it used more than its 0.1 s of CPU time")


async def test_cpu_time_of_many_short_exports_counts_together() -> None:
    async with raw.probing() as room:
        outcome = await room.call("keepsStarting", 0.5, limits=CPU, deadline_s=5.0)
        assert (outcome.kind, outcome.message) == ("crashed", "it used more than its 0.1 s of CPU time")


@pytest.mark.parametrize("method", ["recurse", "recurseInExport"])
async def test_endless_recursion_is_an_error_of_the_guest_or_the_end_of_it(method: str) -> None:
    async with raw.probing() as room:
        outcome = await room.call(method)
        if outcome.kind == "failed":
            assert "stack" in outcome.message
        else:
            assert (outcome.kind, outcome.message) == ("crashed", "it ran out of stack (endless recursion?)")
        assert await room.value("count") == 1


async def test_a_guest_that_hoards_memory_runs_out_of_its_own() -> None:
    async with raw.probing() as room:
        began = time.monotonic()
        outcome = await room.call("hoard", limits=replace(LIMITS, memory_bytes_max=32 * MiB))
        assert outcome.kind in ("failed", "crashed"), outcome
        assert time.monotonic() - began < 5
        assert await room.value("count") == 1


@pytest.mark.parametrize("method", ["never", "awaits"])
async def test_a_promise_that_nothing_can_settle_is_seen_at_once(method: str) -> None:
    async with raw.probing(ManualClock()) as room:
        outcome = await room.call(method)
        assert outcome.kind in ("stalled", "crashed"), outcome
        if method == "never":
            assert outcome.kind == "stalled"


async def test_the_wall_clock_ends_a_call_that_waits() -> None:
    clock = ManualClock()
    async with raw.probing(clock) as room:
        room.world.asked = lambda *_: None
        running = room.start("asks", 1, wall_s=30)
        await wait_until(lambda: room.world.operations, "the operation")
        clock.advance(29.9)
        assert not running.outcomes
        clock.advance(0.2)
        assert [outcome.kind for outcome in running.outcomes] == ["timed-out"]


async def test_a_guest_that_blocks_too_long_is_told_apart() -> None:
    clock = ManualClock()
    limits = replace(LIMITS, init_wall_s=5.0)
    async with raw.probing(clock) as room:
        running = room.start("blocked", 10_000, limits=limits)
        await _quiet(room)
        clock.advance(5.1)
        assert (await running.outcome()).kind == "block-timed-out"
        unblocked = room.start("blocked", 4_000, limits=limits)
        await _quiet(room)
        clock.advance(4.0)
        assert (await unblocked.outcome()).value == b'"unblocked"'


async def test_blocking_again_and_again_does_not_buy_time_for_ever() -> None:
    clock = ManualClock()
    async with raw.probing(clock) as room:
        running = room.start("toggles", 1000, wall_s=10, limits=replace(LIMITS, init_wall_s=10))
        for _ in range(60):
            await _quiet(room)
            clock.advance(1.0)
            if running.outcomes:
                break
        assert [outcome.kind for outcome in running.outcomes] == ["timed-out"]


@pytest.mark.parametrize("method", ["cancels", "blocks"])
async def test_asking_a_million_times_in_one_slice_leaves_no_heap_of_requests(method: str) -> None:
    async with raw.probing() as room:
        running = room.start(method, 20_000)
        most = 0
        while not running.future.done():
            most = max(most, len(running.call._outbox))
            await asyncio.sleep(0)
        assert (await running.outcome()).kind in ("stalled", "returned")
        assert most < 100


# What is left.


async def test_nothing_is_left_after_a_thousand_kills() -> None:
    async with raw.probing() as room:
        await _kill(room, 30)
        descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(10):
            await _kill(room, 100)
        assert (room.engine.stores, room.engine.fibers, room.scheduler.calls) == (0, 0, 0)
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert threading.active_count() <= threads


async def _kill(room: raw.Room, count: int) -> None:
    """Ends `count` calls, a third each by the CPU limit, the wall clock and the caller."""
    tiny = replace(LIMITS, call_cpu_s=0.002)
    running = []
    for index in range(count):
        way = index % 3
        method = ("spin", "storm")[index % 2] if way == 0 else ("waits", "spin")[index % 2 if way == 2 else 0]
        call = room.start(method, 60_000, limits=tiny, wall_s=0.05 if way == 1 else 30.0)
        if way == 2:
            room.scheduler.loop.call_later(0.001 * (index % 20), call.call.cancel)
        running.append(call)
    for call in running:
        outcome = await call.outcome()
        assert outcome.kind in ("crashed", "timed-out", "cancelled"), outcome
        assert len(call.outcomes) == 1
    await wait_until(lambda: room.engine.stores == 0, "the end of every store")
    room.instances.clear()


async def test_closing_an_engine_with_an_open_instance_is_refused() -> None:
    async with raw.probing() as room:
        instance = room.instance()
        with pytest.raises(SandboxError, match="1 instances are still open"):
            room.engine.close()
        instance.close()
        instance.close()
        assert room.engine.stores == 0


async def test_arguments_that_are_not_utf8_never_reach_the_library() -> None:
    async with raw.probing() as room:
        outcome = await room.begin(INVOKE, b"echo", b'["\xff\xfe"]').outcome()
        assert (outcome.kind, outcome.message) == ("crashed", "the host failed while running it")
        instance = room.instance()
        assert await room.value("count", instance=instance) == 1
        with pytest.raises(UnicodeDecodeError):
            instance.begin(INVOKE, (b"echo", b"\x80"))
        with pytest.raises(TypeError):
            instance.begin(INVOKE, ("echo", "[]"))
        assert await room.value("count", instance=instance) == 2


async def test_a_handler_has_no_storage() -> None:
    async with raw.probing() as room:
        outcome = await room.call("get", "k", storage=NO_STORAGE)
        assert (outcome.kind, outcome.message) == ("crashed", "only an actor has storage")


def test_a_host_that_was_started_with_a_nice_value_runs_its_background_thread_below_it() -> None:
    """What may raise a process's priority is given up at the start, so a fixed value would be refused there."""

    async def burn() -> int:
        async with raw.probing() as room:
            assert (await room.call("burn", 50)).kind == "returned"
            (burner,) = (one for one in threading.enumerate() if one.name == "burner" and one not in before)
            assert burner.native_id is not None
            return os.getpriority(os.PRIO_PROCESS, burner.native_id)

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, 12)  # of this thread alone
        found.append(asyncio.run(burn()))

    before, found = set(threading.enumerate()), list[int]()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [12 + BURNER_NICE]


async def _quiet(room: raw.Room) -> None:
    """Until no call is in the scheduler's hands: all that can run has run."""
    await asyncio.sleep(0)
    await wait_until(lambda: not room.scheduler._scheduled and not room.scheduler._burner._held, "quiet")
