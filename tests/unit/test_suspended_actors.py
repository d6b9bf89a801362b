"""What a tenant's suspension and deletion mean to its actors: alarms wait, and what is erased stays erased."""

from __future__ import annotations

import asyncio

import pytest

from host.actors import erase
from host.actors.erase import TenantState
from host.actors.ports import nothing_refused
from host.model.clock import ManualClock
from host.model.errors import ActorError, ActorOverloadedError
from host.model.ids import ActorId
from host.storage import keys
from host.storage.memory import MemoryEngine
from tests.kit.rooms import DEADLINE_S, GUEST, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


def suspend(rooms: Rooms) -> None:
    rooms.serving.clear()
    rooms.directory.refused = lambda _tenant, _type: "it is suspended"


async def test_alarms_of_a_suspended_tenant_wait_and_fire_when_it_is_back() -> None:
    clock, engine, version = ManualClock(), MemoryEngine(), version_of()
    async with open_rooms(engine, clock, version=version) as rooms:
        await rooms.run("a", ["setAlarmIn", 1000])
        suspend(rooms)
        await rooms.advance(600, step_s=5)
        assert engine.scan(*keys.dead_alarms_range(version.tenant)) == []
        ((_, retries),) = engine.scan(*keys.ALARMS)
        assert retries == b"0"
        rooms.directory.refused = nothing_refused
        rooms.serve(version)
        await rooms.advance(16, step_s=1)
        assert engine.scan(*keys.ALARMS) == []
        ((_, count, again),) = (await rooms.run("a", ["get", "fired"]))[0]
        assert (count, again) == (0, False)


async def test_a_call_to_an_actor_of_a_suspended_tenant_is_told_so() -> None:
    async with open_rooms(version=version_of()) as rooms:
        await rooms.run("a", ["put", "k", 1])
        suspend(rooms)
        with pytest.raises(ActorOverloadedError, match="does not serve: it is suspended"):
            await rooms.run("a", ["get", "k"])


async def test_erasing_waits_for_turns_and_leaves_nothing_of_the_tenant_and_all_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erase, "KEYS_AT_ONCE", 3)
    monkeypatch.setattr(erase, "LOOK_S", 0.001)
    engine, version = MemoryEngine(), version_of()
    async with open_rooms(engine, version=version) as rooms:
        rooms.serve(version_of(tenant="other"))
        await rooms.run("a", ["put", "k", 1], tenant="other")
        kept = engine.scan(b"\x10", b"\x20")
        for n in range(5):
            await rooms.run(f"a{n}", *(["put", f"k{i}", 1] for i in range(5)), ["setAlarmIn", 1_000_000])
        engine.write([(keys.dead_alarm_key(ActorId(version.tenant, "Probe", "gone")), b"{}")])
        busy = asyncio.ensure_future(rooms.run("busy", ["put", "k", 1], ["pause", 50], ["put", "late", 2]))
        await wait_until(lambda: any(actor.busy for actor in rooms.directory._actors.values()), "the turn")
        rooms.retire(version)
        erasing = asyncio.create_task(TenantState(rooms.directory).erase(version.tenant))
        await asyncio.wait_for(busy, DEADLINE_S)
        await asyncio.wait_for(erasing, DEADLINE_S)
        assert engine.scan(b"\x10", b"\x20") == kept
        with pytest.raises(ActorError):
            await rooms.run("a0", ["get", "k0"])
        rooms.serve(version)
        assert await rooms.run("a0", ["get", "k0"]) == [None]
