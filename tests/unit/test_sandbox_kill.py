"""Ending a call wherever it is: at each point where it can be waiting, on either thread, and from inside a callback.

Each test's room shows at its end that no store, no future and no call is left.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from host.model.limits import LIMITS
from host.sandbox import scheduler
from host.sandbox.call import Call
from host.sandbox.instance import INVOKE
from host.sandbox.outcome import Outcome
from host.telemetry import log
from tests.kit import raw
from tests.kit.until import wait_until

pytestmark = pytest.mark.alone

LONG = replace(LIMITS, call_cpu_s=20.0)
STARTS_FOR_EVER = """
(component
  (core module $m (func $s (loop br 0)) (start $s))
  (core instance (instantiate $m))
  (instance $g)
  (export "tenure:edge/guest@0.1.0" (instance $g)))
"""


async def _queued(room: raw.Room) -> raw.Running:
    return room.start("spin", limits=LONG)


async def _between_slices(room: raw.Room) -> raw.Running:
    seen = asyncio.Event()
    running = room.start("spin", limits=LONG)

    def look() -> None:
        if running.call.instance.running:
            seen.set()
            room.scheduler._ready.clear()  # holds the scheduler still, so that the call stays where it is

    room.scheduler.round_end.append(look)
    with patch.multiple(scheduler, ROUND_S=0.0, BURN_AFTER_S=60.0):
        await asyncio.wait_for(seen.wait(), 5)
    room.scheduler.round_end.clear()
    return running


async def _burning(room: raw.Room) -> raw.Running:
    running = room.start("spin", limits=LONG)
    await wait_until(lambda: room.scheduler.burning(running.call), "the background thread")
    return running


async def _waiting_for_a_timer(room: raw.Room) -> raw.Running:
    running = room.start("waits", 60_000)
    await wait_until(lambda: any(running.call._pending.values()), "the timer")
    return running


async def _waiting_for_an_actor(room: raw.Room) -> raw.Running:
    room.world.asked = lambda *_: None
    running = room.start("asks", 1)
    await wait_until(lambda: room.world.operations, "the operation")
    return running


async def _after_its_outcome_was_said(room: raw.Room) -> raw.Running:
    running = room.start("says", "done", limits=LONG)
    await wait_until(lambda: running.call.outcome is not None, "the outcome")
    return running


Reach = Callable[[raw.Room], Awaitable[raw.Running]]
POINTS: list[Reach] = [
    _queued, _between_slices, _burning, _waiting_for_a_timer, _waiting_for_an_actor, _after_its_outcome_was_said,
]  # fmt: skip
everywhere = pytest.mark.parametrize("reach", POINTS, ids=lambda reach: reach.__name__.strip("_"))


@everywhere
async def test_a_call_can_be_cancelled_wherever_it_is(reach: Reach) -> None:
    async with raw.probing() as room:
        running = await reach(room)
        running.call.cancel()
        running.call.cancel()
        outcome = await running.outcome(2.0)
        assert outcome.kind == "cancelled"
        assert running.call.instance.closed
        running.call.cancel()
        running.call.overdue()
        for call, operation in room.world.operations:
            call.resolve(operation, b"late")
        await asyncio.sleep(0)
        assert running.outcomes == [outcome]
        assert (room.engine.stores, room.engine.fibers, room.scheduler.calls) == (0, 0, 0)


@everywhere
async def test_a_scheduler_can_be_closed_wherever_a_call_is(reach: Reach) -> None:
    async with raw.probing() as room:
        running = await reach(room)
        room.scheduler.close()
        room.scheduler.close()
        assert [outcome.kind for outcome in running.outcomes] == ["cancelled"]
        assert (room.engine.stores, room.engine.fibers, room.scheduler.calls) == (0, 0, 0)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            room.start("count")


@pytest.mark.parametrize("end", [Call.cancel, Call.overdue])
async def test_a_call_that_was_to_be_killed_while_burning_ends_with_its_scheduler(end: Callable[[Call], None]) -> None:
    async with raw.probing() as room:
        running = await _burning(room)
        end(running.call)
        room.scheduler.close()
        assert [outcome.kind for outcome in running.outcomes] == ["cancelled" if end is Call.cancel else "timed-out"]


async def test_a_guest_that_never_finishes_starting_is_cancelled_or_stopped(tmp_path: Path) -> None:
    async with raw.room(raw.by_force(STARTS_FOR_EVER, tmp_path)) as room:
        stopped = await room.call("x", limits=replace(LIMITS, call_cpu_s=0.05))
        assert (stopped.kind, stopped.message) == ("crashed", "it used more than its 0.05 s of CPU time")
        running = await _burning(room)
        running.call.cancel()
        assert (await running.outcome(2.0)).kind == "cancelled"
        unpolled = room.instance()
        unpolled.begin_instantiation()
        assert room.engine.fibers == 1
        unpolled.close()
        half = room.instance()
        half.begin_instantiation()
        assert not half.poll()
        half.close()


async def test_an_instance_can_be_closed_before_its_first_poll_and_between_two() -> None:
    async with raw.probing() as room:
        for polls in range(3):
            instance = room.instance()
            await room.value("count", instance=instance)
            instance.begin(INVOKE, (b"spin", b"[]"))
            for _ in range(polls):
                assert not instance.poll()
            instance.close()
            instance.close()
            assert room.engine.fibers == 0


async def test_a_call_answered_at_once_is_queued_once() -> None:
    """Else a second turn in the queue polls it here while the background thread polls it there."""
    async with raw.probing() as room:
        room.world.asked = lambda call, operation, _: call.reject(
            operation, "ActorTypeNotFoundError", "no such binding"
        )
        for _ in range(20):
            assert await room.value("asksAndSpins", "NONE", 25) == "ActorTypeNotFoundError"


async def test_ending_a_call_from_inside_its_own_operation_starts_nothing_more() -> None:
    async with raw.probing() as room:
        room.world.asked = lambda call, *_: call.cancel()
        outcome = await room.call("asksMany", 5)
        assert outcome.kind == "cancelled"
        assert len(room.world.operations) == 1


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events that the host logs as errors."""
    events: list[str] = []
    monkeypatch.setattr(log.Log, "exception", lambda _self, event, _error, **_: events.append(event))
    return events


async def test_a_callback_that_raises_stops_neither_its_call_nor_the_others(errors: list[str]) -> None:
    def fails(*_: Any) -> None:
        raise OSError("/secret/path")

    async with raw.probing() as room:
        room.scheduler.round_end.append(fails)
        broken = raw.Running()
        broken.call = Call(room.scheduler, room.instance(), "t", room.world, LIMITS, 30.0, fails, room.storage)
        broken.call.start(INVOKE, b"never", b"[]")
        assert await room.value("count") == 1
        assert broken.call.ended
        assert broken.call.instance.closed
        room.world.asked = fails
        outcome = await room.call("asks", 1)
        assert outcome == Outcome("crashed", message="the host failed while running it")
        outcome = await room.call("asksAndSpins", "B", 1, limits=LONG)
        assert outcome == Outcome("crashed", message="the host failed while running it")
        assert await room.value("count") == 1
        assert {"done_failed", "call_failed", "round_end_failed"} == set(errors)


async def test_an_operation_that_cannot_start_ends_a_burning_call_too(errors: list[str]) -> None:
    def fails(*_: Any) -> None:
        raise OSError("/secret/path")

    async with raw.probing() as room:
        room.world.asked = fails
        outcome = await room.call("burnAndWork", 30)
        assert outcome == Outcome("crashed", message="the host failed while running it")
        assert errors == ["call_failed"]


async def test_a_log_that_raises_does_not_keep_a_dead_guest_alive(errors: list[str]) -> None:
    async with raw.probing() as room:

        def fails(*_: Any) -> None:
            raise OSError("/secret/path")

        room.world.log = fails  # type: ignore[method-assign,assignment]
        running = room.start("logs", "info", "x", 1_000_000_000, limits=replace(LIMITS, call_cpu_s=0.05))
        assert (await running.outcome()).kind == "crashed"
        assert running.call.instance.closed
        assert set(errors) == {"log_failed"}


@pytest.mark.parametrize(
    ("fault", "method", "arguments"),
    [("get", "get", ["k"]), ("begin", "storage", []), ("put", "burnAndWork", [20])],
    ids=["at once", "in the middle", "on the background thread"],
)
async def test_a_port_that_raises_crashes_the_call_alone_and_tells_the_host_only(
    errors: list[str], fault: str, method: str, arguments: list[Any]
) -> None:
    async with raw.probing() as room:
        faulty = raw.DictStorage()
        faulty.faults[fault] = KeyError("/var/lib/tenure/secret")
        outcome = await room.call(method, *arguments, storage=faulty)
        assert outcome == Outcome("crashed", message="the host failed while running it")
        assert errors == ["import_failed"]
        assert await room.value("put", "k", "v") == "v"


# The background thread.


async def test_a_burning_guest_uses_every_import() -> None:
    async with raw.probing() as room:
        running = room.start("burnAndWork", 40)
        assert (await running.outcome()).value == b'[1,"v",8]'
        assert room.world.lines == [("info", "stored v")]
        assert room.storage.layers[0] == {b"k": b"v"}
        assert not room.scheduler.burning(running.call)


async def test_others_are_answered_while_guests_spin() -> None:
    async with raw.probing() as room:
        instance = room.instance()
        await room.value("count", instance=instance)
        spinning = [room.start("spin", limits=LONG, tenant="hostile") for _ in range(3)]
        await wait_until(lambda: all(room.scheduler.burning(one.call) for one in spinning), "the background thread")
        times = []
        for _ in range(500):
            began = time.perf_counter()
            await room.value("put", "k", "v", instance=instance, tenant="quiet")
            times.append(time.perf_counter() - began)
        times.sort()
        p50, p99 = times[250] * 1e3, times[495] * 1e3
        print(f"while 3 guests spin, 500 calls: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        assert times[495] < 0.1
        for one in spinning:
            one.call.cancel()
        for one in spinning:
            assert (await one.outcome(2.0)).kind == "cancelled"


async def test_cancelling_races_with_the_end_of_burning_calls() -> None:
    async with raw.probing() as room:
        running = []
        for index in range(200):
            one = room.start("burn", 12 + index % 7, tenant=f"t{index % 3}")
            room.scheduler.loop.call_later(0.002 * index, one.call.cancel)
            running.append(one)
            await asyncio.sleep(0.001)
        for one in running:
            assert (await one.outcome()).kind in ("cancelled", "returned")
        assert all(len(one.outcomes) == 1 for one in running)


# Stacks. Each way leaves the guest's own stack at another instruction, or overflows the library's first.

RECURSE = """
const ways = {
  plain() { const down = (n) => 1 + down(n + 1); return down(0); },
  arguments() { const down = (a, b, c, d, e, f, g, h) => 1 + down(a, b, c, d, e, f, g, h); return down(); },
  spread() { const down = (...all) => 1 + down(...all); return down(...Array(100)); },
  apply() { const all = Array(100); const down = function () { return 1 + down.apply(null, all); }; return down(); },
  locals() { const lets = Array.from({ length: 2000 }, (_, i) => `let v${i} = n;`).join("");
             return new Function(`const down = (n) => { ${lets} return down(v1999) + v5; }; return down(0);`)(); },
  sort() { const down = () => { [3, 1, 2].sort(down); }; return down(); },
  getter() { const it = { get x() { return this.x; } }; return it.x; },
  proxy() { return new Proxy({}, { get(_, key, it) { return it[key]; } }).x; },
  construct() { class Down { constructor() { new Down(); } } return new Down(); },
  date() { const it = { valueOf: () => +new Date(it) }; return +it; },
  instance() { const it = { [Symbol.hasInstance]: () => 1 instanceof it }; return 1 instanceof it; },
  toJSON() { const it = { toJSON: () => JSON.stringify(it) }; return JSON.stringify(it); },
  generator() { function* down() { yield* down(); } return [...down()]; },
  async promises() { const down = async (n) => { await down(n + 1); }; return down(0); },
  parse() { return JSON.parse("[".repeat(100000)); },
  source() { return new Function("return " + "(".repeat(100000))(); },
  print() { let all = []; for (let n = 0; n < 100000; n++) all = [all]; return String(all); },
};
export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: true, actors: [] }); },
  async invoke(method) { await ways[method](); },
  async fetch() {}, async alarm() {}, async resolve() {}, async resolveResponse() {}, async reject() {},
};
"""


async def test_endless_recursion_is_called_that_whatever_recurses() -> None:
    async with raw.room(await raw.artifact_of(raw.build(RECURSE))) as room:
        for way in re.findall(r"^  (?:async )?(\w+)\(\) \{", RECURSE.partition("export")[0], re.MULTILINE):
            outcome = await room.call(way)
            assert (outcome.kind, outcome.message) == ("crashed", "it ran out of stack (endless recursion?)"), way
