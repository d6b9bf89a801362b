"""The pool of warm handlers: reuse, queues, cancelling, versions that no longer serve, and what a caller is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from host.invoke.pool import WARM_IDLE_S
from host.model.clock import ManualClock
from host.model.errors import HandlerCrashed, HandlerError, HandlerTimeout, Unavailable
from host.model.limits import HOST_LIMITS, LIMITS
from host.model.version import Version
from tests.kit.rooms import GUEST, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until

ONE_AT_A_TIME = replace(HOST_LIMITS, handlers_busy_max=1)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
def version() -> Version:
    return version_of(limits=replace(LIMITS, call_cpu_s=0.3, memory_bytes_max=32 << 20))


def log_lines(rooms: Rooms, version: Version) -> str:
    return "\n".join(line.get("text", "") for line in rooms.noted())


async def test_one_request_after_another_uses_the_same_instance(version: Version) -> None:
    async with open_rooms() as rooms:
        for n in range(1, 6):
            assert len((await rooms.handle(version, ["remember", "x"]))[0]) == n
        assert (rooms.handlers.warm, rooms.sandbox.stores) == (1, 1)


async def test_requests_that_overlap_get_instances_of_their_own(version: Version) -> None:
    async with open_rooms(clock=ManualClock()) as rooms:
        calls = [rooms.fetch(version, ["pause", 1000], ["remember", "x"]) for _ in range(5)]
        await rooms.advance(1)
        assert [json.loads((await call).body)[1] for call in calls] == [["x"]] * 5
        assert (rooms.handlers.busy, rooms.handlers.warm) == (0, 5)


async def test_a_handler_that_threw_is_used_again_and_one_that_was_stopped_is_not(version: Version) -> None:
    async with open_rooms() as rooms:
        for step, warm in ((["throw", "Error", "x"], 1), (["recurse"], 0), (["spin"], 0), (["hoard"], 0)):
            with pytest.raises((HandlerError, HandlerCrashed, Unavailable)):
                await rooms.fetch(version, step)
            assert (rooms.handlers.warm, rooms.sandbox.stores) == (warm, warm), step


async def test_no_more_than_the_limit_run_and_the_queue_lets_tenants_take_turns() -> None:
    clock = ManualClock()
    flood, trickle = version_of(tenant="flood"), version_of(tenant="trickle")
    order: list[str] = []

    async with open_rooms(clock=clock, limits=ONE_AT_A_TIME) as rooms:
        calls = [rooms.fetch(flood, ["pause", 100]) for _ in range(10)]
        calls.append(rooms.fetch(trickle, ["pause", 100]))
        for call, name in zip(calls, ["flood"] * 10 + ["trickle"], strict=True):
            call.add_done_callback(lambda _, name=name: order.append(name))
        for _ in calls:
            await rooms.quiet()
            assert (rooms.handlers.busy, rooms.scheduler.calls) == (1, 1)
            await rooms.advance(0.1)
        assert order.index("trickle") <= 2
        assert len(order) == 11


async def test_a_tenant_whose_handlers_wait_for_ever_leaves_places_to_others() -> None:
    clock = ManualClock()
    limits = replace(
        HOST_LIMITS, handlers_busy_max=4, handlers_busy_per_tenant_max=3, handler_queue_max=6,
        handler_queue_per_tenant_max=4,
    )  # fmt: skip
    greedy, modest = version_of(tenant="greedy"), version_of(tenant="modest")
    async with open_rooms(clock=clock, limits=limits) as rooms:
        held = [rooms.fetch(greedy, ["pause", 20_000]) for _ in range(7)]
        refused = rooms.fetch(greedy)
        assert isinstance(refused.exception(), Unavailable)
        assert (rooms.handlers.busy, rooms.handlers.waiting) == (3, 4)
        for _ in range(3):
            calls = [rooms.fetch(modest, ["remember", "x"]) for _ in range(3)]
            assert rooms.handlers.waiting == 6
            assert [(await call).status for call in calls] == [200] * 3
        assert not any(call.done() for call in held)
        await rooms.advance(61, step_s=1)
        assert [call.result().status for call in held] == [200] * 7


async def test_a_full_queue_refuses_at_once(version: Version) -> None:
    clock, limits = ManualClock(), replace(ONE_AT_A_TIME, handler_queue_max=3)
    async with open_rooms(clock=clock, limits=limits) as rooms:
        calls = [rooms.fetch(version, ["pause", 100]) for _ in range(4)]
        refused = rooms.fetch(version)
        assert refused.done()
        assert isinstance(refused.exception(), Unavailable)
        calls[2].cancel()  # gives its place back
        replacement = rooms.fetch(version)
        assert not replacement.done()
        assert isinstance(rooms.fetch(version).exception(), Unavailable)
        await rooms.advance(1, step_s=0.1)
        assert (await replacement).status == 200
        assert rooms.handlers.waiting == 0


async def test_cancelling_a_waiting_request_never_starts_it(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, limits=ONE_AT_A_TIME, version=version) as rooms:
        first = rooms.fetch(version, ["pause", 100])
        second = rooms.fetch(version, ["call", "PROBE", "a", "add", [1]])
        assert second.cancel()
        assert rooms.handlers.waiting == 0
        await rooms.advance(1, step_s=0.1)
        assert (await first).status == 200
        assert rooms.handlers.busy == 0
        assert await rooms.run("a", ["get", "items"]) == [None]


async def test_cancelling_a_running_request_stops_it_and_the_next_one_starts(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, limits=ONE_AT_A_TIME) as rooms:
        first, second = rooms.fetch(version, ["pause", 10_000]), rooms.fetch(version, ["remember", "x"])
        await rooms.quiet()
        first.cancel()
        assert (rooms.handlers.busy, rooms.sandbox.stores) == (1, 0), "an instance is taken when its turn has come"
        assert json.loads((await second).body) == [["x"]]


async def test_cancelling_a_request_that_burns_in_the_background_stops_it(version: Version) -> None:
    async with open_rooms() as rooms:
        spinning = rooms.fetch(version, ["spin"])
        other = rooms.fetch(version, ["burn", 50])
        await other
        spinning.cancel()
        await wait_until(lambda: rooms.handlers.busy == 0, "the end of the cancelled request")
        assert rooms.scheduler.calls == 0


async def test_a_version_that_cannot_start_fails_its_requests_and_those_that_wait_behind_go_on(
    version: Version,
) -> None:
    clock = ManualClock()
    broken = replace(version, artifact="/nowhere/secret.cwasm")
    async with open_rooms(clock=clock, limits=ONE_AT_A_TIME) as rooms:
        first = rooms.fetch(version, ["pause", 100])
        bad = [rooms.fetch(broken) for _ in range(3)]
        good = rooms.fetch(version, ["remember", "x"])
        await rooms.advance(1, step_s=0.1)
        assert (await first).status == (await good).status == 200
        for call in bad:
            error = call.exception()
            assert isinstance(error, Unavailable)
            assert "secret" not in error.detail


async def test_a_retired_version_gets_no_warm_instances_back(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, limits=replace(HOST_LIMITS, handlers_busy_max=2)) as rooms:
        calls = [rooms.fetch(version, ["pause", 100]) for _ in range(4)]  # two run, two wait
        await rooms.quiet()
        rooms.retire(version)
        await rooms.advance(1, step_s=0.1)
        assert [(await call).status for call in calls] == [200] * 4
        assert (rooms.handlers.warm, rooms.sandbox.stores) == (0, 0)


async def test_warm_instances_that_nobody_uses_go(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock) as rooms:
        calls = [rooms.fetch(version, ["pause", 100]) for _ in range(20)]
        await rooms.advance(0.1)
        await asyncio.gather(*calls)
        assert rooms.handlers.warm == 20
        await rooms.advance(WARM_IDLE_S - 10)
        await rooms.handle(version)
        await rooms.advance(20, step_s=1)
        assert (rooms.handlers.warm, rooms.sandbox.stores) == (1, 1)
        await rooms.advance(WARM_IDLE_S, step_s=1)
        assert (rooms.handlers.warm, rooms.sandbox.stores) == (0, 0)


async def test_no_more_than_the_limit_stay_warm(version: Version) -> None:
    clock, limits = ManualClock(), replace(HOST_LIMITS, handlers_warm_per_version_max=3)
    async with open_rooms(clock=clock, limits=limits) as rooms:
        calls = [rooms.fetch(version, ["pause", 100]) for _ in range(10)]
        await rooms.advance(0.1)
        await asyncio.gather(*calls)
        assert (rooms.handlers.warm, rooms.sandbox.stores) == (3, 3)


@pytest.mark.parametrize(
    ("step", "kind", "said"),
    [
        (["throw", "Error", "my secret"], HandlerError, "The function failed. Its logs say why"),
        (["throw-value", "my secret"], HandlerError, "The function failed. Its logs say why"),
        (["stall"], HandlerError, "waits for a promise that nothing can settle"),
        (["spin"], HandlerCrashed, "more than its 0.3 s of CPU time"),
        (["get", "k"], HandlerError, "The function failed"),
    ],
)
async def test_a_handler_that_fails_tells_its_caller_the_kind_and_its_log_the_rest(
    version: Version, step: list[Any], kind: type[Exception], said: str
) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(kind, match=said) as caught:
            await rooms.fetch(version, step)
        assert "secret" not in str(caught.value)
        if "secret" in str(step):
            assert "my secret" in log_lines(rooms, version)


async def test_a_handler_that_takes_too_long_is_a_timeout(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock) as rooms:
        slow = rooms.fetch(version, ["pause", 60_000])
        await rooms.advance(31)
        with pytest.raises(HandlerTimeout, match="30 s"):
            await slow
        assert rooms.sandbox.stores == 0


async def test_an_actors_overload_that_a_handler_lets_pass_can_be_tried_again() -> None:
    clock = ManualClock()
    version = version_of(limits=replace(LIMITS, mailbox_turns_max=1))
    async with open_rooms(clock=clock, version=version) as rooms:
        busy = [rooms.run("a", ["pause", 1000]) for _ in range(2)]
        with pytest.raises(Unavailable) as caught:
            await rooms.fetch(version, ["call", "PROBE", "a", "whoami"])
        assert caught.value.retryable
        await rooms.advance(5, step_s=0.5)
        await asyncio.gather(*busy)


async def test_a_version_without_a_handler_says_so(version: Version) -> None:
    async with open_rooms() as rooms:
        with pytest.raises(HandlerError, match="no fetch handler"):
            await rooms.fetch(replace(version, has_handler=False))


async def test_a_pool_that_closes_answers_those_who_wait_and_starts_nobody(version: Version) -> None:
    clock = ManualClock()
    async with open_rooms(clock=clock, limits=ONE_AT_A_TIME) as rooms:
        calls = [rooms.fetch(version, ["pause", 60_000]) for _ in range(5)]
        await rooms.quiet()
    for call in calls:
        assert isinstance(call.exception(), Unavailable)
    assert isinstance(rooms.fetch(version).exception(), Unavailable)
    assert rooms.sandbox.stores == 0
