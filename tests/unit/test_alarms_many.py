"""Thousands of alarms at once, over a real engine and a real clock: all fire, once each, and nobody is kept waiting.

They are set by writing what their turns would have committed, because it is their firing that is under test; and
handled by the smallest of actors (tests/guests/raw/ticker.js), because what a guest costs is not.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from host.actors.alarms import BATCH
from host.model.clock import SystemClock
from host.model.ids import ActorId
from host.model.version import Version
from host.storage.keys import ALARMS, actor_key, alarm_key, state_prefix
from host.storage.ports import Write
from host.storage.records import ActorRecord
from host.storage.rocks import RocksEngine
from tests.kit import raw
from tests.kit.rooms import GUEST, TENANT, Rooms, compiled, open_rooms, version_of
from tests.kit.until import wait_until

DEADLINE_S = 60.0
P99_MAX_S = 0.5


@pytest.fixture(scope="module")
def ticker() -> Version:
    """Of the tenant that the rooms are asked for by default."""
    artifact = asyncio.run(raw.artifact_of(raw.build((raw.RAW / "ticker.js").read_text())))
    compiled(GUEST)
    return replace(version_of(), artifact=artifact)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RocksEngine]:
    opened = RocksEngine(tmp_path / "db")
    yield opened
    opened.close()


def set_alarms(engine: RocksEngine, dues_ms: list[int]) -> list[ActorId]:
    """An actor for each time, with its alarm set and nothing else stored."""
    actors = [ActorId(TENANT, "Probe", f"a{number}") for number in range(len(dues_ms))]
    writes: list[Write] = []
    for actor, due_ms in zip(actors, dues_ms, strict=True):
        writes.append((actor_key(actor), ActorRecord(0, due_ms, due_ms).encode()))
        writes.append((alarm_key(due_ms, actor), b"0"))
    engine.write(writes)
    engine.sync()
    return actors


def times_fired(engine: RocksEngine, actors: list[ActorId]) -> Counter[int]:
    """How often alarms were handled -> how many actors' were."""
    found = (engine.get(state_prefix(actor) + b"fired") for actor in actors)
    return Counter(0 if value is None else int(value) for value in found)


async def all_gone(engine: RocksEngine) -> None:
    await wait_until(lambda: not engine.scan(*ALARMS, limit=1), "the end of the alarms", DEADLINE_S)


class Latencies(list[float]):
    def __str__(self) -> str:
        p50, p99 = (f"{self.percentile_s(share) * 1000:.1f} ms" for share in (0.5, 0.99))
        return f"{len(self)} requests, p50 {p50}, p99 {p99}"

    def percentile_s(self, share: float) -> float:
        """Nearest rank."""
        return sorted(self)[max(math.ceil(share * len(self)), 1) - 1]


@asynccontextmanager
async def requests(rooms: Rooms, tenant: str) -> AsyncIterator[Latencies]:
    """Writes of an actor of `tenant`, one after another while the block runs, and at least one."""
    seen = Latencies()
    stop = False

    async def ask() -> None:
        while not stop or not seen:
            began = time.perf_counter()
            await asyncio.wait_for(rooms.run("asked", ["put", "k", 1], tenant=tenant), DEADLINE_S)
            seen.append(time.perf_counter() - began)
            await asyncio.sleep(0.001)

    asking = asyncio.create_task(ask())
    try:
        yield seen
    finally:
        stop = True
        await asking


@pytest.mark.alone
async def test_ten_thousand_alarms_due_in_one_second_all_fire_once_while_requests_are_answered(
    engine: RocksEngine, ticker: Version
) -> None:
    due_ms = int(SystemClock().now()) + 1_000
    actors = set_alarms(engine, [due_ms + number % 1_000 for number in range(10_000)])
    async with open_rooms(engine, version=ticker) as rooms:
        rooms.serve(replace(ticker, tenant="neighbour"))
        began = time.perf_counter()
        async with requests(rooms, TENANT) as own, requests(rooms, "neighbour") as others:
            await all_gone(engine)
        print(f"10,000 alarms in {time.perf_counter() - began:.1f} s\nown tenant: {own}\nanother tenant: {others}")
    assert times_fired(engine, actors) == {1: 10_000}
    assert max(own.percentile_s(0.99), others.percentile_s(0.99)) < P99_MAX_S


async def test_five_thousand_alarms_overdue_at_the_start_are_spread_out(engine: RocksEngine, ticker: Version) -> None:
    long_ago_ms = int(SystemClock().now()) - 3_600_000
    actors = set_alarms(engine, [long_ago_ms + number for number in range(5_000)])
    async with open_rooms(engine, version=ticker) as rooms:
        rooms.serve(replace(ticker, tenant="neighbour"))
        at_once = [rooms.alarms.waiting]
        rooms.scheduler.round_end.append(lambda: at_once.append(rooms.alarms.waiting))
        async with requests(rooms, "neighbour") as others:
            await all_gone(engine)
        print(f"beside 5,000 overdue alarms, {max(at_once)} at once: {others}")
        assert 0 < max(at_once) <= BATCH
    assert times_fired(engine, actors) == {1: 5_000}
    assert others.percentile_s(0.99) < P99_MAX_S


async def test_alarms_that_are_due_while_versions_are_deployed_fire_once_each(
    engine: RocksEngine, ticker: Version
) -> None:
    actors = set_alarms(engine, [int(SystemClock().now())] * 2_000)
    async with open_rooms(engine, version=ticker) as rooms:
        deployed = 0
        while engine.scan(*ALARMS, limit=1):
            rooms.serve(replace(ticker, number=1_000 + deployed))
            deployed += 1
            await asyncio.sleep(0.02)
        assert deployed > 5
        await rooms.run("a0")
        activation = rooms.directory._actors[actors[0]].activation
        assert activation is not None
        assert activation.version.number == 1_000 + deployed - 1
    assert times_fired(engine, actors) == {1: 2_000}
