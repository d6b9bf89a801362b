"""How guests share the loop: tenants in turns, rounds with one end each, and limits that need no timer of their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any
from unittest.mock import patch

import pytest

from host.model.clock import ManualClock
from host.model.limits import LIMITS
from host.sandbox import call, fair, scheduler
from host.sandbox.call import Call
from host.sandbox.fair import EVERY, TURN_S, Allowance, FairQueue
from host.sandbox.instance import INVOKE, Instance
from tests.kit import raw
from tests.kit.rooms import open_rooms, version_of
from tests.kit.until import wait_until

pytestmark = pytest.mark.alone


@pytest.fixture
def whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is never cut in two nor paid for, however busy the machine is: what is left is the order."""
    monkeypatch.setattr(call, "SLICE_S", 5.0)
    monkeypatch.setattr(scheduler, "TURN_S", 5.0)


async def _warm(room: raw.Room, count: int) -> list[Instance]:
    """Instances that have started, so that each call is one step."""
    instances = [room.instance() for _ in range(count)]
    for instance in instances:
        await room.value("count", instance=instance)
    return instances


def _when_done(running: raw.Running, order: list[Any], word: Any) -> None:
    running.future.add_done_callback(lambda _: order.append(word))


def _noted(events: list[str], running: raw.Running, call: Any, outcome: Any) -> None:
    events.append("call")
    running.done(call, outcome)


def _ends(room: raw.Room, order: list[str], instances: list[Instance], tenant: str) -> list[raw.Running]:
    started = []
    for instance in instances:
        running = room.start("count", tenant=tenant, instance=instance)
        _when_done(running, order, tenant)
        started.append(running)
    return started


@pytest.mark.usefixtures("whole_steps")
async def test_a_tenant_with_a_hundred_ready_calls_delays_another_by_one_step() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 102)
        order: list[str] = []
        running = _ends(room, order, instances[:100], "many")
        running += _ends(room, order, instances[100:], "few")
        await asyncio.gather(*(one.outcome() for one in running))
        assert order[:4] == ["many", "few", "many", "few"]
        assert order[4:] == ["many"] * 98


@pytest.mark.usefixtures("whole_steps")
async def test_every_tenant_gets_its_turn_before_any_gets_a_second() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 30)
        order: list[str] = []
        running = []
        for tenant in range(3):
            running += _ends(room, order, instances[tenant * 10 : tenant * 10 + 10], f"t{tenant}")
        await asyncio.gather(*(one.outcome() for one in running))
        assert order == ["t0", "t1", "t2"] * 10


def test_one_that_had_nothing_queued_passes_those_that_take_turns_but_not_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    for tenant in ("a", "b", "c"):
        for number in range(9):
            queue.push(tenant, f"{tenant}{number}")
    assert [queue.pop() for _ in range(3)] == ["a0", "b0", "c0"]
    order = ["quiet"]
    while len(order) < 30:
        if order[-1] == "quiet":  # it comes again as soon as it was served
            queue.push("quiet", "quiet")
        order.append(queue.pop())
    assert [item for item in order if item != "quiet"][:2] == ["a1", "b1"]
    assert order.index("b1") - order.index("a1") == EVERY + 1


def test_one_whose_items_take_long_lets_the_others_go_first_until_it_has_paid() -> None:
    queue: FairQueue[str] = FairQueue()
    for tenant in ("hog", "brief"):
        for _ in range(100):
            queue.push(tenant, tenant)
    assert [queue.pop() for _ in range(2)] == ["hog", "brief"]
    queue.charge("hog", 5 * TURN_S)
    assert not queue.all_owe()
    assert [queue.pop() for _ in range(8)] == ["brief"] * 5 + ["hog", "brief", "hog"]
    queue.charge("hog", 5 * TURN_S)
    queue.charge("brief", 3 * TURN_S)
    assert queue.all_owe()
    assert queue.pop() == "brief", "those who all owe pay together"


def test_what_was_pushed_for_later_waits_for_the_rest_of_its_tenant_but_not_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("t", "later", later=True)
    queue.push("other", "other", later=True)
    for number in range(10):
        queue.push("t", str(number))
    order = [queue.pop() for _ in range(12)]
    assert order[1] == "other"
    assert order.index("later") == 1 + EVERY
    assert not queue
    with pytest.raises(IndexError):
        queue.pop()


@pytest.mark.usefixtures("whole_steps")
async def test_calls_of_one_tenant_run_in_the_order_they_began() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 50)
        order: list[int] = []
        running = []
        for index, instance in enumerate(instances):
            one = room.start("count", instance=instance)
            _when_done(one, order, index)
            running.append(one)
        await asyncio.gather(*(one.outcome() for one in running))
        assert order == list(range(50))


@pytest.mark.usefixtures("whole_steps")
async def test_a_round_ends_once_after_all_that_was_ready() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 20)
        events: list[str] = []
        room.scheduler.round_end.append(lambda: events.append("end"))
        with patch.object(scheduler, "ROUND_S", 5.0):
            for instance in instances:
                running = room.start("count", instance=instance)
                running.call.done = partial(_noted, events, running)
            await running.outcome()
        assert events == ["call"] * 20 + ["end"]


@pytest.mark.usefixtures("whole_steps")
async def test_a_round_is_cut_so_that_the_loop_gets_its_turn() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 20)
        ends: list[int] = []
        with patch.object(scheduler, "ROUND_S", 0.0):
            running = [room.start("count", instance=instance) for instance in instances]
            room.scheduler.round_end.append(lambda: ends.append(sum(one.future.done() for one in running)))
            await asyncio.gather(*(one.outcome() for one in running))
        assert ends == list(range(1, 21))


async def test_a_guest_that_takes_long_ends_its_round_while_two_tenants_are_about() -> None:
    """Else requests that arrive meanwhile are read after the slices of others, too."""
    async with raw.probing() as room:
        instances = await _warm(room, 6)
        room.scheduler._allowance = Allowance(0.1, 60.0)  # they stay on the loop
        polled: list[Call] = []
        rounds: list[int] = []
        run_slice = Call.run_slice

        def noting(self: Call, *meter: Any) -> bool:
            polled.append(self)
            return run_slice(self, *meter)

        room.scheduler.round_end.append(lambda: rounds.append(len(polled)))
        with patch.object(Call, "run_slice", noting), patch.multiple(scheduler, SHARED_ROUND_S=5.0, BURN_AFTER_S=60.0):
            spinning = [
                room.start("spin", instance=instance, tenant=f"t{number % 2}", limits=replace(LIMITS, call_cpu_s=60.0))
                for number, instance in enumerate(instances)
            ]
            await wait_until(lambda: len(rounds) > len(spinning), "some rounds")
        assert {after - before for before, after in pairwise(rounds)} == {1}
        for one in spinning:
            one.call.cancel()
            await one.outcome()


@pytest.mark.usefixtures("whole_steps")
async def test_rounds_are_shorter_while_two_tenants_are_about() -> None:
    async with raw.probing() as room:
        instances = await _warm(room, 20)
        rounds: list[int] = []

        async def rounds_of(*tenants: str) -> int:
            rounds.clear()
            running = [
                room.start("count", instance=instance, tenant=tenants[number % len(tenants)])
                for number, instance in enumerate(instances)
            ]
            room.scheduler.round_end[:] = [lambda: rounds.append(sum(one.future.done() for one in running))]
            await asyncio.gather(*(one.outcome() for one in running))
            return len(rounds)

        with patch.multiple(scheduler, ROUND_S=60.0, SHARED_ROUND_S=0.0, COMPANY_S=60.0):
            assert await rounds_of("t") == 1
            assert await rounds_of("t", "u") == 20
            assert await rounds_of("t") == 20, "the other may come back at any time"


async def test_a_round_also_ends_for_a_call_that_burned() -> None:
    async with raw.probing() as room:
        seen: list[bool] = []
        running = room.start("burn", 60)
        await wait_until(lambda: room.scheduler.burning(running.call), "the background thread")
        room.scheduler.round_end.append(lambda: seen.append(running.future.done()))
        await running.outcome()
        assert seen[-1]


async def test_a_hundred_spinning_guests_of_one_tenant_do_not_starve_anothers_long_computation() -> None:
    async with raw.probing() as room:
        (instance,) = await _warm(room, 1)
        spinning = [room.start("spin", limits=replace(LIMITS, call_cpu_s=60.0), tenant="hostile") for _ in range(100)]
        await wait_until(lambda: all(room.scheduler.burning(one.call) for one in spinning), "the background thread")
        began = perf_counter()
        running = room.start("work", 3_000_000, instance=instance, tenant="quiet")
        assert (await running.outcome()).kind == "returned"
        wall_s, cpu_s = perf_counter() - began, running.call.cpu_s
        print(f"beside 100 spinning guests: {cpu_s:.3f} s of CPU time took {wall_s:.3f} s")
        assert cpu_s > 0.05
        assert wall_s < 10 * cpu_s  # in turns between all calls it would take a hundred times as long
        for one in spinning:
            one.call.cancel()
        assert {(await one.outcome()).kind for one in spinning} == {"cancelled"}


async def test_a_short_computation_does_not_wait_for_its_own_tenants_hundred_spinning_guests() -> None:
    async with raw.probing() as room:
        (instance,) = await _warm(room, 1)
        spinning = [room.start("spin", limits=replace(LIMITS, call_cpu_s=60.0)) for _ in range(100)]
        await wait_until(lambda: all(one.call.cpu_s > scheduler.LATELY_S for one in spinning), "a hundred spinners", 60)
        began = perf_counter()
        running = room.start("burn", 20, instance=instance)
        assert (await running.outcome()).kind == "returned"
        wall_s = perf_counter() - began
        print(f"beside 100 spinning guests of its own tenant: 20 ms took {wall_s * 1e3:.1f} ms")
        assert wall_s < 0.2  # in turns with them it would take a hundred slices for each of its own
        for one in spinning:
            one.call.cancel()
        assert {(await one.outcome()).kind for one in spinning} == {"cancelled"}


async def test_guests_of_a_tenant_that_has_burned_its_share_leave_the_loop_to_others_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of them burns no more than the loop would let it; in the background they wait for each other only."""
    async with raw.probing() as room:
        instances = await _warm(room, 12)
        on_the_loop: list[str] = []
        run_slice = Call.run_slice

        def noting(self: Call, *meter: Any) -> bool:
            if not meter:
                on_the_loop.append(self.tenant)
            return run_slice(self, *meter)

        with patch.object(Call, "run_slice", noting), patch.object(scheduler, "BURN_AFTER_S", 60.0):
            with patch.object(scheduler, "COMPANY_S", 0.0):
                await room.start("count", tenant="a", instance=instances[0]).outcome()
                alone = [room.start("burn", 8, tenant="a", instance=instance) for instance in instances]
                await asyncio.gather(*(one.outcome() for one in alone))
            assert len(on_the_loop) > len(alone), "nobody is kept from anything"
            monkeypatch.setattr(scheduler, "COMPANY_S", 60.0)
            await room.start("count", tenant="b", instance=instances[0]).outcome()
            on_the_loop.clear()
            crowd = [room.start("burn", 8, tenant="a", instance=instance) for instance in instances]
            assert {(await one.outcome()).kind for one in crowd} == {"returned"}
            assert "a" not in on_the_loop
            await room.start("count", tenant="b", instance=instances[0]).outcome()
            assert on_the_loop == ["b"]


def test_an_allowance_is_a_burst_and_a_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(fair, "perf_counter", lambda: now)
    allowance = Allowance(share=0.125, burst_s=0.5)
    allowance.spend("t", 0.5)
    assert not allowance.is_spent("t")
    allowance.spend("t", 1.0)
    assert allowance.is_spent("t")
    assert not allowance.is_spent("other")
    now += 8.0  # an eighth of it is a second
    assert not allowance.is_spent("t")
    for tenant in range(3 * fair.TENANTS_MAX):
        now += 1.0
        allowance.spend(str(tenant), 0.01)
    assert len(allowance._paid_at) <= fair.TENANTS_MAX


async def test_limits_of_different_lengths_end_calls_in_order_and_leave_nothing() -> None:
    clock = ManualClock()
    async with raw.probing(clock) as room:
        room.world.asked = lambda *_: None
        order: list[float] = []
        running = []
        for wall_s in (3.0, 1.0, 2.0, 1.0):
            one = room.start("asks", 1, wall_s=wall_s)
            _when_done(one, order, wall_s)
            running.append(one)
        await wait_until(lambda: len(room.world.operations) == 4, "the operations")
        assert room.scheduler.calls == 4
        for _ in range(4):
            clock.advance(1.0)
            await asyncio.sleep(0)
        assert order == [1.0, 1.0, 2.0, 3.0]
        assert {(await one.outcome()).kind for one in running} == {"timed-out"}
        assert (room.scheduler.calls, room.scheduler._deadlines) == (0, {})


async def test_a_call_begun_as_another_ends_is_run_and_limited_like_any() -> None:
    clock = ManualClock()
    async with raw.probing(clock) as room:
        room.world.asked = lambda *_: None
        first, second = raw.Running(), raw.Running()

        def again(call: Any, outcome: Any) -> None:
            first.done(call, outcome)
            second.call = room.start("asks", 1, wall_s=1.0).call
            second.call.done = second.done

        first.call = room.start("asks", 1, wall_s=1.0).call
        first.call.done = again
        await wait_until(lambda: room.world.operations, "the operation")
        clock.advance(1.1)
        assert (await first.outcome()).kind == "timed-out"
        await wait_until(lambda: len(room.world.operations) == 2, "the second operation")
        clock.advance(1.1)
        assert (await second.outcome()).kind == "timed-out"


async def test_closing_ends_the_calls_that_begin_because_of_it() -> None:
    async with raw.probing() as room:
        room.world.asked = lambda *_: None
        waiting = 5
        kinds: list[str] = []

        def next_in_line(_call: Any, outcome: Any) -> None:
            nonlocal waiting
            kinds.append(outcome.kind)
            if waiting:
                waiting -= 1
                room.start("asks", 1).call.done = next_in_line

        room.start("asks", 1).call.done = next_in_line
        room.scheduler.close()
        assert kinds == ["cancelled"] * 6


async def test_an_instance_runs_one_export_at_a_time() -> None:
    async with raw.probing() as room:
        (instance,) = await _warm(room, 1)
        instance.begin(INVOKE, (b"count", b"[]"))
        with pytest.raises(RuntimeError, match="one export at a time"):
            instance.begin(INVOKE, (b"count", b"[]"))


PROBE = version_of()


async def test_while_paused_no_guest_begins_or_ends_and_afterwards_all_do() -> None:
    async with open_rooms(version=PROBE) as rooms:
        await rooms.invoke("a", "run", [["put", "k", 1]])
        burning = rooms.invoke("b", "run", [["burn", 100], ["put", "k", 2]])
        await wait_until(lambda: bool(rooms.scheduler._burner._held), "a guest in the background")
        rooms.scheduler.pause()
        commits = rooms.committer.stats().commits
        begun = rooms.invoke("a", "run", [["put", "k", 3]])
        await wait_until(lambda: bool(rooms.scheduler._burned), "the end of what burns")
        assert (begun.done(), burning.done(), rooms.committer.stats().commits) == (False, False, commits)
        rooms.scheduler.resume()
        assert await asyncio.wait_for(asyncio.gather(begun, burning), 10) == [[None], [None, None]]
