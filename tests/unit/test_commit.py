"""Group commit: the order of callbacks, what a failed sync does, and when the sync leaves the loop and comes back."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from host.model.clock import ManualClock
from host.model.errors import StorageBroken
from host.storage.commit import (
    EWMA_WEIGHT,
    LOOP_SYNC_S_MAX,
    PROBE_S_MIN,
    PROBE_SYNC_S_MAX,
    Callback,
    Committer,
    _SyncThread,
)
from host.storage.memory import MemoryEngine
from host.storage.ports import Engine, Scanned, Write
from host.storage.rocks import RocksEngine
from host.telemetry import log

DEADLINE_S = 10.0
SLOW_S = 10 * LOOP_SYNC_S_MAX


class Disk:
    """An engine whose syncs take as long as a test says on `clock`, can be held up, can fail, and are recorded."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self._engine, self._clock = engine, clock
        self.sync_s = 0.0
        self.fail: OSError | None = None
        self.threads: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def get(self, key: bytes) -> bytes | None:
        return self._engine.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        return self._engine.scan(start, end, reverse=reverse, limit=limit)

    def snapshot(self) -> Scanned:
        return self._engine.snapshot()

    def write(self, batch: Iterable[Write]) -> None:
        self._engine.write(batch)

    def sync(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        assert self.go.wait(DEADLINE_S)
        self._clock.advance(self.sync_s)
        if self.fail is not None:
            raise self.fail
        self._engine.sync()

    def close(self) -> None:
        self._engine.close()

    @property
    def synced_on_loop(self) -> list[bool]:
        return [name == threading.main_thread().name for name in self.threads]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def disk(memory: MemoryEngine, clock: ManualClock) -> Disk:
    return Disk(memory, clock)


@pytest.fixture
def committer(disk: Disk, clock: ManualClock) -> Committer:
    return Committer(disk, clock)


def put(committer: Committer, name: str = "k") -> int:
    return committer.write([(name.encode(), b"v")])


def note(into: list[object], what: object) -> Callback:
    return lambda error: into.append(what if error is None else (what, type(error)))


async def at_work(disk: Disk) -> None:
    """Until a sync is under way in the thread."""
    assert await asyncio.to_thread(disk.entered.wait, DEADLINE_S)


async def leave_the_loop(committer: Committer, disk: Disk, sync_s: float = 2 * LOOP_SYNC_S_MAX / EWMA_WEIGHT) -> None:
    """One sync so slow that the next ones run in the thread."""
    disk.sync_s = sync_s
    put(committer, "slow")
    committer.flush()
    assert not committer.stats().on_loop
    disk.threads.clear()
    disk.entered.clear()
    disk.sync_s = SLOW_S


# --- order ------------------------------------------------------------------------------------------------------------


def test_commits_are_numbered_and_one_sync_covers_a_round(committer: Committer, disk: Disk) -> None:
    assert [put(committer) for _ in range(3)] == [1, 2, 3]
    assert committer.synced == 0
    committer.flush()
    assert committer.synced == 3
    committer.flush()
    assert len(disk.threads) == 1


def test_a_callback_runs_only_after_the_sync_that_covers_its_commit(committer: Committer, memory: MemoryEngine) -> None:
    seen: list[object] = []
    first = put(committer, "a")
    committer.when_synced(first, note(seen, "a"))
    assert seen == []
    committer.flush()
    assert seen == ["a"]
    memory.crash()
    assert memory.get(b"a") == b"v"


def test_callbacks_run_in_order_of_commits_then_of_asking(committer: Committer) -> None:
    seen: list[object] = []
    numbers = [put(committer) for _ in range(4)]
    for number in (3, 1, 4, 1, 2):
        committer.when_synced(number, note(seen, number))
    assert numbers == [1, 2, 3, 4]
    committer.flush()
    assert seen == [1, 1, 2, 3, 4]


def test_a_durable_commit_calls_back_at_once_and_an_unwritten_one_is_refused(committer: Committer) -> None:
    seen: list[object] = []
    committer.when_synced(0, note(seen, "nothing written"))
    put(committer)
    committer.flush()
    committer.when_synced(1, note(seen, "durable"))
    assert seen == ["nothing written", "durable"]
    with pytest.raises(ValueError, match="commit 2 was not written yet"):
        committer.when_synced(2, note(seen, "never"))


def test_a_callback_asked_for_by_a_callback_takes_its_place_in_the_order(committer: Committer) -> None:
    seen: list[object] = []
    for _ in range(3):
        put(committer)

    def first(error: StorageBroken | None) -> None:
        seen.append(1)
        committer.when_synced(3, note(seen, "3 asked by 1"))
        committer.when_synced(1, note(seen, "1 asked by 1"))

    committer.when_synced(1, first)
    committer.when_synced(2, note(seen, 2))
    committer.when_synced(3, note(seen, 3))
    committer.flush()
    assert seen == [1, "1 asked by 1", 2, 3, "3 asked by 1"]


async def test_a_callback_may_write_and_flush_and_gets_a_sync_of_its_own(committer: Committer, disk: Disk) -> None:
    seen: list[object] = []

    def first(error: StorageBroken | None) -> None:
        seen.append(1)
        committer.when_synced(put(committer), note(seen, 3))
        committer.flush()

    put(committer)
    put(committer)
    committer.when_synced(1, first)
    committer.when_synced(2, note(seen, 2))
    committer.flush()
    assert seen == [1, 2]
    await committer.drain()
    assert seen == [1, 2, 3]
    assert len(disk.threads) == 2


def test_a_callback_that_raises_is_logged_and_stops_nobody(
    committer: Committer, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []

    def broken(error: StorageBroken | None) -> None:
        raise RuntimeError("a gate fell over")

    put(committer)
    put(committer)
    committer.when_synced(1, broken)
    committer.when_synced(1, note(seen, 1))
    committer.when_synced(2, note(seen, 2))
    committer.flush()
    assert seen == [1, 2]
    assert "a gate fell over" in capsys.readouterr().err


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_a_failed_sync_fails_all_that_wait_and_all_that_comes_and_is_said_once(
    committer: Committer, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    put(committer)
    committer.flush()
    committer.when_synced(put(committer), note(seen, 2))
    committer.when_synced(put(committer), note(seen, 3))
    disk.fail = OSError("no space left on device")
    committer.flush()
    assert committer.broken
    assert committer.synced == 1
    assert seen == [(2, StorageBroken), (3, StorageBroken)]

    disk.fail = None
    with pytest.raises(StorageBroken) as caught:
        put(committer)
    assert "no space" not in caught.value.detail  # for tenants: nothing of the host's own
    committer.when_synced(3, note(seen, "late"))
    committer.when_synced(1, note(seen, "durable before"))
    assert seen[2:] == [("late", StorageBroken), "durable before"]
    committer.flush()
    assert len(disk.threads) == 2, "a failed sync is never tried again"
    with pytest.raises(StorageBroken):
        await committer.drain()
    await committer.close()
    logged = capsys.readouterr().err
    assert logged.count("event=sync_failed") == 1
    assert "no space left on device" in logged


async def test_a_sync_that_fails_in_the_thread_also_fails_what_was_written_meanwhile(
    committer: Committer, disk: Disk
) -> None:
    await leave_the_loop(committer, disk)
    seen: list[object] = []
    disk.go.clear()
    disk.fail = OSError("gone")
    committer.when_synced(put(committer), note(seen, "covered"))
    committer.flush()
    committer.when_synced(put(committer), note(seen, "behind it"))
    disk.go.set()
    with pytest.raises(StorageBroken):
        await committer.drain()
    assert seen == [("covered", StorageBroken), ("behind it", StorageBroken)]
    await committer.close()


def test_a_refused_write_concerns_its_caller_only(clock: ManualClock) -> None:
    class Full(MemoryEngine):
        full = False

        def write(self, batch: Iterable[Write]) -> None:
            if self.full:
                raise OSError("no space left on device")
            super().write(batch)

    engine = Full()
    committer = Committer(engine, clock)
    seen: list[object] = []
    committer.when_synced(put(committer, "a"), note(seen, "a"))
    engine.full = True
    with pytest.raises(OSError, match="no space"):
        put(committer, "b")
    engine.full = False
    assert put(committer, "c") == 2
    committer.flush()
    assert (seen, committer.broken, committer.synced) == (["a"], False, 2)


# --- where the sync runs ----------------------------------------------------------------------------------------------


async def test_a_slow_disk_is_synced_in_the_thread_and_the_loop_goes_on(committer: Committer, disk: Disk) -> None:
    await leave_the_loop(committer, disk)
    seen: list[object] = []
    disk.go.clear()
    committer.when_synced(put(committer), note(seen, "a"))
    committer.flush()
    await at_work(disk)
    assert seen == []  # the disk is at work, and here we are
    disk.go.set()
    await committer.drain()
    assert disk.synced_on_loop == [False]
    await committer.close()


async def test_what_is_written_during_a_sync_forms_the_next_group_which_starts_at_once(
    committer: Committer, disk: Disk
) -> None:
    await leave_the_loop(committer, disk)
    seen: list[object] = []
    disk.go.clear()
    committer.when_synced(put(committer), note(seen, 1))
    committer.flush()
    await at_work(disk)
    for number in (2, 3, 4):
        committer.when_synced(put(committer), note(seen, number))
        committer.flush()
    assert len(disk.threads) == 1, "one sync at a time"
    disk.go.set()
    await committer.drain()
    assert seen == [1, 2, 3, 4]
    assert len(disk.threads) == 2, "one sync for all that came meanwhile"
    await committer.close()


async def test_syncs_come_back_to_the_loop_when_the_disk_is_fast_again(
    committer: Committer, disk: Disk, clock: ManualClock
) -> None:
    await leave_the_loop(committer, disk)
    disk.sync_s = 0.0
    put(committer)
    committer.flush()
    await committer.drain()
    assert disk.synced_on_loop == [False], "not tried before its time"
    clock.advance(PROBE_S_MIN)
    put(committer)
    committer.flush()
    assert disk.synced_on_loop == [False, True]
    assert committer.stats().on_loop
    await committer.close()


async def test_a_disk_that_stays_slow_is_tried_ever_less_often(
    committer: Committer, disk: Disk, clock: ManualClock
) -> None:
    await leave_the_loop(committer, disk)
    tries = []
    for _ in range(100):
        put(committer)
        committer.flush()
        await committer.drain()
        if disk.synced_on_loop[-1]:
            tries.append(clock.monotonic())
        clock.advance(0.5)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert len(tries) == 5
    assert all(later > 1.5 * earlier for earlier, later in pairwise(gaps)), gaps
    await committer.close()


async def test_a_very_slow_disk_is_not_tried_on_the_loop_at_all(
    committer: Committer, disk: Disk, clock: ManualClock
) -> None:
    await leave_the_loop(committer, disk, 2 * PROBE_SYNC_S_MAX)
    disk.sync_s = 2 * PROBE_SYNC_S_MAX
    for _ in range(20):
        clock.advance(PROBE_S_MIN)
        put(committer)
        committer.flush()
        await committer.drain()
    assert not any(disk.synced_on_loop)
    await committer.close()


async def test_waiting_for_the_thread_lets_it_report_where_a_busy_loop_would_not(
    disk: Disk, clock: ManualClock
) -> None:
    reports: list[int] = []
    thread = _SyncThread(
        disk, clock.monotonic, asyncio.get_running_loop(), lambda target, elapsed_s, error: reports.append(target)
    )
    disk.go.clear()
    thread.sync(7)
    await at_work(disk)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(DEADLINE_S)  # a thread that asks for the GIL is not let in: what it gets, it is given
    try:
        disk.go.set()
        busy_until = time.monotonic() + 0.02
        while time.monotonic() < busy_until:
            pass
        assert thread.busy, "the sync is over, and the thread has no way to say so"
        thread.wait_idle(DEADLINE_S / 2)
        assert not thread.busy
    finally:
        sys.setswitchinterval(usual)
    await asyncio.sleep(0)
    assert reports == [7]
    thread.stop()


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_drain_waits_for_everything_written_and_close_refuses_what_comes_after(
    committer: Committer, disk: Disk, memory: MemoryEngine
) -> None:
    others = set(threading.enumerate())  # a host that serves the whole session has such a thread too
    await committer.drain()  # nothing to wait for
    await leave_the_loop(committer, disk)
    put(committer, "a")
    await committer.drain()
    assert committer.synced == 2
    put(committer, "b")
    await committer.close()
    memory.crash()
    assert memory.get(b"b") == b"v"
    with pytest.raises(StorageBroken, match="stopping"):
        put(committer)
    assert not committer.broken
    assert not any(thread.name == "tenure-sync" for thread in set(threading.enumerate()) - others)


async def test_a_thousand_turns_on_rocksdb_are_all_there_after_the_commit(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "state")
    committer = Committer(engine)
    seen: list[object] = []
    for number in range(1, 1_001):
        committer.when_synced(put(committer, f"k{number:04}"), note(seen, number))
        if number % 16 == 0:
            committer.flush()
    await committer.drain()
    await committer.drain()
    assert seen == list(range(1, 1_001))
    await committer.close()
    engine.close()
    again = RocksEngine(tmp_path / "state")
    assert len(again.scan(b"k", b"l")) == 1_000
    again.close()


@pytest.fixture(autouse=True)
def _log_to_stderr_as_logfmt() -> None:
    log.configure(level="info", as_json=False)
