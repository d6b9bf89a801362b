"""Group commit: a turn's writes are applied as it ends, one sync makes all turns of a round durable.

A write without a sync costs microseconds; a sync costs a trip to the disk, however much it covers. So turns only
*write*, each getting the next sequence number, and the scheduler calls `flush` once per round. Whoever must not
speak before its writes are durable (a gate that holds a reply) asks for `when_synced`.

Where the sync runs adapts to the disk. A fast sync runs on the loop: handing it to a thread and back costs about as
much, and the thread has to win the GIL from a busy loop before it can report. A slow one runs in a thread of the
committer's own, one at a time; whatever is written meanwhile forms the next group, whose sync starts at once. The
thread's own measurements contain the wait for the GIL, so from time to time one sync is tried on the loop again.

Measured with RocksDB on two shared cores: a write of two keys 6 us; a sync of 1, 16, 256 such writes 106, 165, 251 us;
one write through the thread and back 175 us where it took 107 us on the loop. With a loop that spins and polls
(uvloop, 16 writes a round, 200 us between polls) the thread needed 2.5 s (median) to report, and 1.4 ms since the loop
gives way to it.

Invariants:
- a callback runs exactly once, in order of sequence numbers, never before the sync that covers its writes returned;
- a callback that raises is logged and stops nobody else's;
- a sync that failed is never tried again: the kernel may have dropped the pages it could not write and report success
  the next time. The committer stays broken, everything unsynced and every later write gets StorageBroken;
- no task, Event or future per commit.

Everything here runs on the loop's thread, except `engine.sync` in the committer's own.
Not here: what a batch holds (`actors`, `registry`), and who owns the engine (the one who opened it closes it).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import NamedTuple

from host.model.clock import Clock, SystemClock
from host.model.errors import StorageBroken
from host.storage.ports import Engine, Write
from host.telemetry.log import get

LOOP_SYNC_S_MAX = 0.001
"""Mean sync time up to which syncs stay on the loop."""

EWMA_WEIGHT = 0.1
"""Weight of the newest sync in the mean: one hiccup of ten times the limit is enough to leave the loop."""

PROBE_S_MIN, PROBE_S_MAX = 1.0, 60.0
"""Pause before a sync is tried on the loop again. It doubles while the disk stays slow."""

PROBE_SYNC_S_MAX = 0.020
"""No try on the loop while even the thread's fastest sync took this long: it would hold up every guest in vain."""

GIVE_WAY_EVERY_S, GIVE_WAY_S, GIVE_WAY_AFTER_S_MAX = 0.001, 0.0001, 0.005
"""While a sync is under way, how often the loop gives up the GIL for its thread, and for how long at most. It begins
when the fastest sync of late would have ended, but no later than the third figure."""

BROKEN = "The host's storage failed. What was not acknowledged may be lost; the operator has to restart the host."
CLOSED = "The host is stopping and takes no more writes. Try again when it is back."

Callback = Callable[[StorageBroken | None], None]

_log = get("storage.commit")


class CommitStats(NamedTuple):
    """Counts since the start; `sync_s` is the mean time of recent syncs where they run now, `sync_total_s` that of all
    syncs together, in seconds.
    """

    commits: int
    syncs: int
    sync_s: float
    on_loop: bool
    sync_total_s: float


class Committer:
    """The one way to write in a process. `clock.monotonic` times the syncs."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._monotonic = (clock or SystemClock()).monotonic
        self._written = 0
        self._synced = 0
        self._delivered = 0  # callbacks up to this number have run
        self._waiting: dict[int, list[Callback]] = {}
        self._delivering = False
        self._flush_again = False
        self._refusal = ""  # why writes are refused, or "" while they are not
        self._broken = False
        self._pace = _Pace()
        self._syncs = 0
        self._sync_total_s = 0.0
        self._thread: _SyncThread | None = None
        self._syncing = False  # a sync is under way in the thread
        self._sync_started = 0.0
        self._giving_way: asyncio.TimerHandle | None = None

    @property
    def synced(self) -> int:
        """The highest sequence number that is durable; 0 before the first."""
        return self._synced

    @property
    def broken(self) -> bool:
        """A sync failed. Stays true."""
        return self._broken

    def stats(self) -> CommitStats:
        return CommitStats(self._written, self._syncs, self._pace.mean_s, self._pace.on_loop, self._sync_total_s)

    def write(self, batch: Iterable[Write]) -> int:
        """Apply `batch` now, atomically, seen by reads at once; returns its sequence number (1, 2, ...).

        Raises StorageBroken after a failed sync or `close`, and OSError when the engine refused the batch: then
        nothing of it was applied, and other commits are not affected.
        """
        if self._refusal:
            raise StorageBroken(self._refusal)
        self._engine.write(batch)
        self._written = seq = self._written + 1
        return seq

    def when_synced(self, seq: int, callback: Callback) -> None:
        """Run `callback(None)` once commit `seq` is durable (at once if it is), else `callback(StorageBroken)`.

        `seq` may be that of an older commit. Raises ValueError for one that was not written yet.
        """
        if seq <= self._delivered:
            self._run(callback, seq)
            return
        if seq > self._written:
            raise ValueError(f"commit {seq} was not written yet, the last one is {self._written}")
        callbacks = self._waiting.get(seq)
        if callbacks is None:
            self._waiting[seq] = [callback]
        else:
            callbacks.append(callback)

    def flush(self) -> None:
        """End of a round: see to it that everything written becomes durable. Callbacks may run before this returns."""
        if self._syncing or self._broken or self._written == self._synced:
            return
        if self._delivering:
            # A callback wrote and flushes: its turn comes after the callbacks that are due before it.
            if not self._flush_again:
                self._flush_again = True
                asyncio.get_running_loop().call_soon(self._flush_later)
        elif self._pace.stay_on_loop(self._monotonic()):
            self._sync_here()
        else:
            self._start()

    async def drain(self) -> None:
        """Wait until everything written so far is durable. Raises StorageBroken if it never will be."""
        if self._delivered >= self._written and not self._broken:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: StorageBroken | None) -> None:
            if done.done():
                return  # the one who waited was cancelled
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.when_synced(self._written, settle)
        self.flush()
        await done

    async def close(self) -> None:
        """Refuse further writes, make what is there durable, end the thread. Does not raise: a failure was logged."""
        self._refusal = self._refusal or CLOSED
        try:
            await self.drain()
        except StorageBroken:
            pass  # said when it happened, and every waiting callback was told
        finally:
            if self._giving_way is not None:
                self._giving_way.cancel()
                self._giving_way = None
            if self._thread is not None:
                self._thread.stop()
                self._thread = None

    def _flush_later(self) -> None:
        self._flush_again = False
        self.flush()

    def _sync_here(self) -> None:
        target = self._written
        started = self._monotonic()
        try:
            self._engine.sync()
        except Exception as error:
            self._fail(error)
            return
        now = self._monotonic()
        self._pace.ran_on_loop(now - started, now)
        self._syncs += 1
        self._sync_total_s += now - started
        self._synced = target
        self._deliver(target)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = _SyncThread(self._engine, self._monotonic, loop, self._finished)
        self._syncing = True
        self._sync_started = self._monotonic()
        self._thread.sync(self._written)
        if self._giving_way is None:
            self._giving_way = loop.call_later(GIVE_WAY_EVERY_S, self._give_way)

    def _give_way(self) -> None:
        """Let the thread report. It needs the GIL for that, and a busy loop can keep it away for seconds.

        A loop that polls lets go of the GIL and takes it back within a microsecond, faster than the thread wakes up;
        and each time that the thread wakes in vain, its claim to be let in after `sys.getswitchinterval()` starts anew.
        """
        self._giving_way = None
        if self._syncing and self._thread is not None:
            under_way_s = self._monotonic() - self._sync_started
            if under_way_s >= min(self._pace.fastest_s, GIVE_WAY_AFTER_S_MAX):
                self._thread.wait_idle(GIVE_WAY_S)
            self._giving_way = asyncio.get_running_loop().call_later(GIVE_WAY_EVERY_S, self._give_way)

    def _finished(self, target: int, elapsed_s: float, error: Exception | None) -> None:
        self._syncing = False
        if error is not None:
            self._fail(error)
            return
        self._pace.ran_in_thread(elapsed_s)
        self._syncs += 1
        self._sync_total_s += elapsed_s
        self._synced = target
        if self._written > target and not self._pace.stay_on_loop(self._monotonic()):
            self._start()  # before the callbacks: the disk works on the next group while they run
        self._deliver(target)
        self.flush()

    def _deliver(self, upto: int) -> None:
        """Run the callbacks up to commit `upto`. One that is added meanwhile takes its place in the order."""
        self._delivering = True
        try:
            for seq in range(self._delivered + 1, upto + 1):
                callbacks = self._waiting.get(seq)
                if callbacks is not None:
                    for callback in callbacks:
                        self._run(callback, seq)
                    del self._waiting[seq]
                self._delivered = seq
        finally:
            self._delivering = False

    def _run(self, callback: Callback, seq: int) -> None:
        try:
            callback(None if seq <= self._synced else StorageBroken(BROKEN))
        except Exception as error:
            _log.exception("sync_callback_failed", error, seq=seq)

    def _fail(self, error: Exception) -> None:
        self._broken = True
        self._refusal = BROKEN
        lost = self._written - self._synced
        _log.error("sync_failed", error=error, synced=self._synced, lost=lost, advice="restart the host")
        self._deliver(self._written)


class _Pace:
    """Decides where the next sync runs, from how long the last ones took. Times in seconds."""

    __slots__ = ("_pause_s", "_probe_at", "fastest_s", "mean_s", "on_loop")

    def __init__(self) -> None:
        self.on_loop = True
        self.mean_s = 0.0
        self.fastest_s = 0.0
        self._pause_s = PROBE_S_MIN
        self._probe_at = 0.0

    def stay_on_loop(self, now: float) -> bool:
        """True if the next sync is to run on the loop: for good, or as a try."""
        return self.on_loop or (now >= self._probe_at and self.fastest_s <= PROBE_SYNC_S_MAX)

    def ran_on_loop(self, elapsed_s: float, now: float) -> None:
        if not self.on_loop:
            self._judge_try(elapsed_s, now)
            return
        self.mean_s += (elapsed_s - self.mean_s) * EWMA_WEIGHT
        if self.mean_s > LOOP_SYNC_S_MAX:
            self._leave(elapsed_s, now)

    def ran_in_thread(self, elapsed_s: float) -> None:
        self.mean_s += (elapsed_s - self.mean_s) * EWMA_WEIGHT
        self.fastest_s = min(self.fastest_s, elapsed_s)

    def _judge_try(self, elapsed_s: float, now: float) -> None:
        if elapsed_s <= LOOP_SYNC_S_MAX:
            self.on_loop, self.mean_s, self._pause_s = True, elapsed_s, PROBE_S_MIN
        else:
            self._pause_s = min(self._pause_s * 2, PROBE_S_MAX)
            self._leave(elapsed_s, now)

    def _leave(self, elapsed_s: float, now: float) -> None:
        self.on_loop = False
        self.fastest_s = elapsed_s
        self._probe_at = now + self._pause_s


class _SyncThread:
    """Runs `engine.sync` off the loop, one at a time; each result comes back as a call of `finished` on the loop."""

    def __init__(
        self,
        engine: Engine,
        monotonic: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[int, float, Exception | None], None],
    ) -> None:
        self._engine, self._monotonic, self._loop, self._finished = engine, monotonic, loop, finished
        self._targets: SimpleQueue[int | None] = SimpleQueue()
        self._idle = threading.Lock()  # held from `sync` until the result is handed back
        self._thread = threading.Thread(target=self._work, name="tenure-sync", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """A sync is under way, or its result is not handed back yet."""
        return self._idle.locked()

    def sync(self, target: int) -> None:
        self._idle.acquire()
        self._targets.put(target)

    def wait_idle(self, timeout_s: float) -> None:
        """Wait, without the GIL, until the sync under way is handed back, at most `timeout_s`."""
        if self._idle.acquire(timeout=timeout_s):
            self._idle.release()

    def stop(self) -> None:
        """End the thread. Returns at once unless a sync is under way."""
        self._targets.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (target := self._targets.get()) is not None:
            error: Exception | None = None
            started = self._monotonic()
            try:
                self._engine.sync()
            except Exception as reason:
                error = reason
            elapsed_s = self._monotonic() - started
            try:
                self._loop.call_soon_threadsafe(self._finished, target, elapsed_s, error)
            except RuntimeError:
                return  # the loop is closed: nobody is left to be told
            finally:
                self._idle.release()
