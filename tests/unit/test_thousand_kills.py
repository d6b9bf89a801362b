"""A thousand guests that are stopped, for every cause there is: nothing of them is left in the host."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.model.errors import TenureError
from host.model.ids import ActorId
from host.model.limits import LIMITS
from tests.kit.rooms import GUEST, TENANT, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until

KILLS = 1_000
AT_ONCE = 20
GROWTH_BYTES_MAX = 32 << 20
CAUSES: list[list[Any]] = [["spin"], ["recurse"], ["stall"], ["pause", 60_000], ["hoard"]]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


def resident_bytes() -> int:
    """Resident memory that is this process's own: no mapped files."""
    pages, shared = (int(text) for text in Path("/proc/self/statm").read_text().split()[1:3])
    return (pages - shared) * os.sysconf("SC_PAGE_SIZE")


def held(rooms: Rooms) -> tuple[int, ...]:
    """What a call may leave behind: stores, futures, calls, busy and waiting handlers, tasks, threads, descriptors."""
    return (
        rooms.sandbox.stores, rooms.sandbox.fibers, rooms.scheduler.calls, rooms.handlers.busy, rooms.handlers.waiting,
        len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd")),
    )  # fmt: skip


async def test_a_thousand_kills_leave_no_store_fiber_call_task_thread_descriptor_or_memory() -> None:
    version = version_of(
        limits=replace(
            LIMITS, call_cpu_s=0.012, memory_bytes_max=8 << 20, method_wall_s=0.2, actor_fetch_wall_s=0.2,
            request_wall_s=0.2,
        )
    )  # fmt: skip
    ends: Counter[str] = Counter()
    async with open_rooms(version=version) as rooms:

        async def killed(number: int) -> None:
            step, name = CAUSES[number % len(CAUSES)], f"victim-{number % AT_ONCE}"
            way = number // len(CAUSES) % 4
            call: asyncio.Future[Any]
            if way == 0:
                call = rooms.run(name, ["put", "k", number], step)
            elif way == 1:
                call = rooms.fetch_actor(name, ["put", "k", number], step)
            else:
                call = rooms.fetch(version, step)
                if way == 3:
                    asyncio.get_running_loop().call_later(0.001 * (number % 7), call.cancel)
            try:
                await asyncio.wait_for(call, 30)
            except TenureError as error:
                ends[type(error).__name__] += 1
            except asyncio.CancelledError:
                ends["cancelled"] += 1

        async def kill(numbers: range) -> None:
            for first in range(numbers.start, numbers.stop, AT_ONCE):
                await asyncio.gather(*(killed(number) for number in range(first, first + AT_ONCE)))
            await wait_until(lambda: rooms.scheduler.calls == 0, "the end of the last calls")
            for number in range(AT_ONCE):
                rooms.directory.reset(ActorId(TENANT, "Probe", f"victim-{number}"))
            rooms.handlers.retire(version)
            gc.collect()

        await kill(range(10 * AT_ONCE))  # warms up what stays: threads, caches, the allocator's arenas
        ends.clear()
        before, memory = held(rooms), resident_bytes()
        await kill(range(KILLS))
        growth = resident_bytes() - memory
        print(f"{KILLS} kills: {dict(ends)}; {growth / 1024:+,.0f} KiB")
        assert ends.total() == KILLS
        assert len(ends) >= 5
        assert held(rooms) == before
        assert before[:5] == (0, 0, 0, 0, 0)
        assert growth < GROWTH_BYTES_MAX
        rooms.serve(version_of())  # with CPU time enough to answer
        for number in range(AT_ONCE):  # nothing of a killed turn was kept, and each actor still works
            assert await rooms.run(f"victim-{number}", ["get", "k"]) == [None]
