"""A snapshot is of one moment: nobody copies before everybody has paused, and everybody goes on whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from host.backup import snapshot
from host.backup.snapshot import PAUSE_S_MAX, TOO_SLOW, ShardCopies, Snapshots
from host.cluster.kinds import Kind
from host.model.clock import ManualClock
from host.model.errors import StorageBroken, Unavailable
from host.storage.layout import CONTROL_FOLDER, LAYOUT_FILE, Layout
from host.storage.rocks import RocksEngine
from host.supervisor.asking import Desk, Direct
from host.supervisor.staff import Staff

WORKERS = 3


class Guests:
    """A worker's scheduler, of which a snapshot only asks that it pauses."""

    def __init__(self, worker: int, said: list[str]) -> None:
        self.worker, self.said = worker, said
        self.paused = False

    def pause(self) -> None:
        self.paused = True
        self.said.append(f"{self.worker} pauses")

    def resume(self) -> None:
        self.paused = False
        self.said.append(f"{self.worker} goes on")


class Engine(RocksEngine):
    """Says when it is copied."""

    def __init__(self, path: Path, said: list[str]) -> None:
        super().__init__(path)
        self.said = said
        self.error: OSError | None = None

    def checkpoint(self, folder: Path) -> None:
        self.said.append(f"{self.path.name} is copied")
        if self.error is not None:
            raise self.error
        super().checkpoint(folder)


class Hosts:
    """Control and workers with one shard each, and what happened, in order."""

    def __init__(self, data: Path) -> None:
        self.data, self.layout, self.clock = data, Layout(WORKERS), ManualClock()
        self.said: list[str] = []
        self.control = Engine(data / CONTROL_FOLDER, self.said)
        self.shards = [Engine(self.layout.shard_folder(data, number), self.said) for number in range(WORKERS)]
        self.guests = [Guests(number, self.said) for number in range(WORKERS)]
        self.copies = [
            ShardCopies(lambda number=number: {number: self.shards[number]}, 1, self.guests[number], self.clock)  # type: ignore[misc,arg-type]
            for number in range(WORKERS)
        ]
        self.desks = [Desk(copies.answering()) for copies in self.copies]
        self.staff = Staff(list)
        for number, desk in enumerate(self.desks):
            self.staff.serves(number, Direct(desk.handlers))
        self.snapshots = Snapshots(data, self.layout, self.control, self.staff, lambda: list(range(WORKERS)))
        (data / LAYOUT_FILE).write_text("{}")
        self.taken = data / "taken"
        self.taken.mkdir()

    async def close(self) -> None:
        for desk in self.desks:
            await desk.close()
        for engine in (self.control, *self.shards):
            engine.close()

    @property
    def paused(self) -> list[bool]:
        return [guests.paused for guests in self.guests]


@asynccontextmanager
async def hosts_in(data: Path) -> AsyncIterator[Hosts]:
    hosts = Hosts(data)
    try:
        yield hosts
    finally:
        await hosts.close()


async def test_nobody_copies_before_everybody_has_paused_and_the_registry_is_copied_first(tmp_path: Path) -> None:
    async with hosts_in(tmp_path) as hosts:
        assert await hosts.snapshots.take(hosts.taken) > 0
        said = hosts.said
        assert sorted(said[:WORKERS]) == [f"{number} pauses" for number in range(WORKERS)]
        assert said[WORKERS] == "control is copied"
        assert sorted(said[WORKERS + 1 : -WORKERS]) == [f"00{number} is copied" for number in range(WORKERS)]
        assert sorted(said[-WORKERS:]) == [f"{number} goes on" for number in range(WORKERS)]
        assert sorted(path.name for path in (hosts.taken / "shards").iterdir()) == ["000", "001", "002"]


@pytest.mark.parametrize("victim", ["control", "a shard"])
async def test_guests_go_on_when_something_cannot_be_copied(tmp_path: Path, victim: str) -> None:
    async with hosts_in(tmp_path) as hosts:
        engine = hosts.control if victim == "control" else hosts.shards[1]
        engine.error = OSError("no space left on device")
        with pytest.raises(StorageBroken, match="disk full"):
            await hosts.snapshots.take(hosts.taken)
        assert hosts.paused == [False] * WORKERS


async def test_a_worker_that_cannot_pause_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PATIENCE_S", 0.0)
    async with hosts_in(tmp_path) as hosts:
        hosts.copies[2]._engines = dict  # its shards are not open
        with pytest.raises(Unavailable, match="did not answer"):
            await hosts.snapshots.take(hosts.taken)
        assert "control is copied" not in hosts.said
        assert hosts.paused == [False] * WORKERS


async def test_a_pause_ends_by_itself_and_then_the_snapshot_does_not_count(tmp_path: Path) -> None:
    """One of the workers goes on before all have been copied, because nobody told it in time."""
    async with hosts_in(tmp_path) as hosts:
        copied = hosts.control.checkpoint

        def slow(folder: Path) -> None:
            loop.call_soon_threadsafe(hosts.clock.advance, PAUSE_S_MAX)
            copied(folder)

        loop = asyncio.get_running_loop()
        hosts.control.checkpoint = slow  # type: ignore[method-assign]
        with pytest.raises(Unavailable) as refused:
            await hosts.snapshots.take(hosts.taken)
        assert refused.value.detail == TOO_SLOW
        assert hosts.paused == [False] * WORKERS


async def test_a_worker_that_has_lost_its_control_process_goes_on_at_once(tmp_path: Path) -> None:
    async with hosts_in(tmp_path) as hosts:
        await hosts.staff.ask(0, Kind.COPY_SHARDS, "pause")
        assert hosts.paused == [True, False, False]
        assert hosts.copies[0].resume()
        assert hosts.paused == [False] * WORKERS
        assert not hosts.copies[0].resume()
        hosts.clock.advance(PAUSE_S_MAX)
        assert hosts.said == ["0 pauses", "0 goes on"]


async def test_what_changes_things_without_a_guest_waits_for_the_end_of_a_pause(tmp_path: Path) -> None:
    done: list[Any] = []

    async def erase(question: Any) -> Any:
        done.append(question)
        return "erased"

    async with hosts_in(tmp_path) as hosts:
        answer = hosts.copies[0].held_back({Kind.ERASE: erase})[Kind.ERASE]
        assert await answer("before") == "erased"
        await hosts.staff.ask(0, Kind.COPY_SHARDS, "pause")
        held = asyncio.ensure_future(answer("meanwhile"))
        await hosts.staff.ask(0, Kind.COPY_SHARDS, "copy")
        assert done == ["before"]
        await hosts.staff.ask(0, Kind.COPY_SHARDS, "resume")
        assert await held == "erased"
        assert done == ["before", "meanwhile"]
