"""When an actor was last used is noted now and then, not at every turn; and what an edit leaves in memory: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from host.actors.actor import USE_NOTED_EVERY_MS
from host.actors.tools import ActorTools
from host.model.clock import ManualClock
from host.model.errors import Unavailable
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS
from host.storage.keys import actor_use_key
from host.storage.memory import MemoryEngine
from tests.kit.rooms import TENANT, Disk, Rooms, open_rooms, version_of

ACTOR = ActorId(TENANT, "Probe", "a")
EVERY_S = USE_NOTED_EVERY_MS / 1_000


@pytest.fixture
def disk() -> Disk:
    return Disk(MemoryEngine())


@pytest.fixture
async def rooms(disk: Disk) -> AsyncIterator[Rooms]:
    limits = replace(HOST_LIMITS, activation_idle_s=30.0)
    async with open_rooms(disk, ManualClock(), limits, version=VERSION) as rooms:
        yield rooms


VERSION = version_of()


def noted_ms(disk: Disk) -> int | None:
    stored = disk.get(actor_use_key(ACTOR))
    return None if stored is None else int(stored)


async def test_a_use_is_noted_once_in_ten_minutes_even_when_the_actor_leaves_memory(rooms: Rooms, disk: Disk) -> None:
    await rooms.invoke("a", "run", [["get", "k"]])
    assert noted_ms(disk) is None  # an actor that stored nothing is none
    await rooms.invoke("a", "run", [["put", "k", 1]])
    first = rooms.clock.now()
    assert noted_ms(disk) == first
    writes = rooms.committer.stats().commits
    for _ in range(4):
        await rooms.advance(EVERY_S / 5, 10.0)
        assert rooms.directory.activations == 0
        await rooms.invoke("a", "run", [["get", "k"]])
    assert (noted_ms(disk), rooms.committer.stats().commits) == (first, writes)
    await rooms.advance(EVERY_S / 5, 10.0)
    await rooms.invoke("a", "run", [["get", "k"]])
    assert (noted_ms(disk), rooms.committer.stats().commits) == (rooms.clock.now(), writes + 1)


async def test_a_use_that_cannot_be_noted_fails_nobody(rooms: Rooms, disk: Disk) -> None:
    await rooms.invoke("a", "run", [["put", "k", 1]])
    await rooms.advance(EVERY_S, 100.0)
    disk.write_error = OSError("no space left on device")
    assert await rooms.invoke("a", "run", [["get", "k"]]) == [1]


async def test_an_edit_that_cannot_be_stored_is_refused_and_the_actor_goes_on(rooms: Rooms, disk: Disk) -> None:
    tools = ActorTools(rooms.directory)
    await rooms.invoke("a", "run", [["put", "k", 1]])
    disk.write_error = OSError("no space left on device")
    with pytest.raises(Unavailable, match="could not store it"):
        await tools.put(ACTOR, "k", "2")
    disk.write_error = None
    assert await rooms.invoke("a", "run", [["get", "k"]]) == [1]
    await tools.put(ACTOR, "k", "2")
    assert await rooms.invoke("a", "run", [["get", "k"], ["put", "j", 3]]) == [2, None]


async def test_an_edit_is_not_answered_before_it_is_durable(rooms: Rooms, disk: Disk) -> None:
    await rooms.invoke("a", "run", [["put", "k", 1]])
    disk.sync_error = OSError("the disk is gone")
    with pytest.raises(Unavailable, match="unknown until the host restarts"):
        await ActorTools(rooms.directory).put(ACTOR, "k", "2")


async def test_a_full_mailbox_refuses_an_edit(disk: Disk) -> None:
    version = version_of(limits=replace(VERSION.limits, mailbox_turns_max=1))
    async with open_rooms(disk, ManualClock(), version=version) as rooms:
        await rooms.invoke("a", "run", [["put", "k", 1]])
        held = [rooms.invoke("a", "hold", tag, 1_000) for tag in ("runs", "waits")]
        await rooms.quiet()
        with pytest.raises(Unavailable, match="has 1 calls waiting already"):
            await ActorTools(rooms.directory).put(ACTOR, "k", "2")
        await rooms.advance(3.0, 0.5)
        assert [len(await one) for one in held] == [2, 4]
