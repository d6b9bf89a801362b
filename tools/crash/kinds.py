"""What is done to a host, one function for each kind of round; afterwards the host serves again.

Each says what may fail meanwhile, and holds everything else against the host: calls of actors in workers that were not
touched never fail. A connection that is lost is no error when its worker was killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from tests.kit.until import wait_until
from tools.crash.disk import SmallDisk
from tools.crash.faults import Faults
from tools.crash.host import CrashHost, WorkerFound
from tools.crash.torn import tear
from tools.crash.traffic import Failure, Load

LOAD_S = (0.2, 1.5)
AFTERWARDS_S = (0.1, 0.5)
NO_CONTROL_S = (0.2, 1.2)
STARTING_S = (0.02, 0.6)
AGAIN_SHARE = 0.3
"""In this share of rounds a second blow falls while the host gets up from the first."""

SYNCS_BEFORE_ERROR_MAX = 200
SLOW_SYNCS_S = (0.0, 0.005, 0.02, 0.05)
COMES_S = 30.0
SHOWN_MAX = 3


@dataclass
class Stage:
    """A round under way. What a kind finds goes into the last fields; times are in seconds."""

    host: CrashHost
    load: Load
    chance: random.Random
    workers: int
    stopped_s: float
    faults: Faults | None
    disk: SmallDisk | None
    blows: int = 0
    back_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def loaded(self, between: tuple[float, float]) -> None:
        """Let the load go on for a seeded time."""
        await asyncio.sleep(self.chance.uniform(*between))

    async def victim(self) -> WorkerFound:
        return self.chance.choice(await self.host.whole(self.workers))

    async def restarted(self) -> None:
        """Start the whole host again, at times in two tries of which the first is killed."""
        began = time.monotonic()
        if self.chance.random() < AGAIN_SHARE:
            self.host.launch()
            await self.loaded(STARTING_S)
            await asyncio.to_thread(self.host.kill)
            self.blows += 1
            began = time.monotonic()
        await asyncio.to_thread(self.host.start)
        self.back_s = time.monotonic() - began

    async def answers_again(self, shards: Collection[int], since: float, what: str) -> None:
        """Until a request that was sent after `since` is acknowledged in each of these shards."""
        first: dict[int, float] = {}

        def all_do() -> bool:
            for shard in shards:
                answered = self.load.answered.get(shard)
                if answered is not None and answered.sent > since:
                    first.setdefault(shard, answered.replied)
            return len(first) == len(shards)

        await wait_until(all_do, what, COMES_S)
        self.back_s = max(first.values()) - since

    def may_fail(self, allowed: Callable[[Failure], bool]) -> None:
        """Every other failure is held against the host."""
        wrong = [failure for failure in self.load.failures if not allowed(failure)]
        for failure in wrong[:SHOWN_MAX]:
            how = "a connection was lost" if failure.lost else f"an error was answered ({failure.status})"
            self.violations.append(f"shard {failure.shard}: {how}: {failure.detail}")
        if len(wrong) > SHOWN_MAX:
            self.violations.append(f"{len(wrong) - SHOWN_MAX} more failures of this kind")
        answered = sum(not failure.lost for failure in self.load.failures)
        if self.load.failures:
            self.notes.append(f"{answered} errors, {len(self.load.failures) - answered} connections lost")


async def kill_worker(stage: Stage) -> None:
    """SIGKILL to one worker: it is back by itself, and calls of other workers' actors never fail."""
    victim = await stage.victim()
    await stage.loaded(LOAD_S)
    killed_at = _kill(victim.pid, stage)
    await stage.answers_again(victim.shards, killed_at, "an answer from the killed worker's actors")
    await stage.loaded(AFTERWARDS_S)
    await stage.load.finish()
    stage.may_fail(lambda failure: failure.lost or failure.shard in victim.shards)


async def kill_control(stage: Stage) -> None:
    """SIGKILL to the control process: nothing fails, neither while there is none nor when the next one comes. At times
    a worker is killed while there is none.
    """
    await stage.host.whole(stage.workers)
    await stage.loaded(LOAD_S)
    stage.host.kill_control()
    stage.blows += 1
    await stage.loaded(NO_CONTROL_S)
    victim: WorkerFound | None = None
    killed_at = time.monotonic()
    if stage.chance.random() < AGAIN_SHARE:
        victim = stage.chance.choice(stage.host.shard_workers())
        killed_at = _kill(victim.pid, stage)
        stage.notes.append("and a worker")
    await asyncio.to_thread(stage.host.start)
    stage.back_s = time.monotonic() - killed_at
    if victim is not None:
        await stage.answers_again(victim.shards, killed_at, "an answer from the killed worker's actors")
    await stage.loaded(AFTERWARDS_S)
    await stage.load.finish()
    stage.may_fail(lambda failure: victim is not None and (failure.lost or failure.shard in victim.shards))


async def kill_all(stage: Stage) -> None:
    """SIGKILL to every process of the host."""
    await stage.loaded(LOAD_S)
    await _die(stage)
    stage.may_fail(_nothing)
    await stage.restarted()


async def power_cut(stage: Stage) -> None:
    """SIGKILL to every process, and what the logs had not synced is lost or garbled. The disk may be a slow one."""
    assert stage.faults is not None
    slow_s = stage.chance.choice(SLOW_SYNCS_S)
    stage.faults.slow_syncs(slow_s)
    await stage.loaded(LOAD_S)
    await _die(stage)
    stage.may_fail(_nothing)
    if slow_s:
        stage.notes.append(f"syncs slow by {slow_s * 1000:.0f} ms")
    _tear(stage, stage.faults)
    await stage.restarted()


async def stop_worker(stage: Stage) -> None:
    """SIGSTOP to a worker, and SIGCONT later: its calls wait, nothing fails."""
    victim = await stage.victim()
    await stage.loaded(LOAD_S)
    os.kill(victim.pid, signal.SIGSTOP)
    stage.blows += 1
    await asyncio.sleep(stage.stopped_s)
    os.kill(victim.pid, signal.SIGCONT)
    await stage.answers_again(victim.shards, time.monotonic(), "an answer from the stopped worker's actors")
    await stage.loaded(AFTERWARDS_S)
    await stage.load.finish()
    stage.may_fail(_nothing)


async def disk_full(stage: Stage) -> None:
    """No byte is left on the data folder's disk: calls fail with a clear error. There is room again, and a restart."""
    assert stage.disk is not None
    await stage.loaded(LOAD_S)
    filled_at = time.monotonic()
    await asyncio.to_thread(stage.disk.fill)
    stage.blows += 1
    try:
        await wait_until(lambda: _answered_error(stage, filled_at), "an error", COMES_S)
        await stage.loaded(AFTERWARDS_S)
    finally:
        stage.disk.free()
    await _die(stage)
    stage.may_fail(lambda failure: failure.status >= 500)
    await stage.restarted()


async def sync_error(stage: Stage) -> None:
    """A sync fails in one worker: it says so, acknowledges nothing more, and what it had not synced is lost."""
    assert stage.faults is not None
    victim = await stage.victim()
    already_said = stage.host.log.stat().st_size
    await stage.loaded(LOAD_S)
    stage.faults.fail_a_sync(victim.pid, stage.chance.randrange(SYNCS_BEFORE_ERROR_MAX))
    stage.blows += 1
    await wait_until(lambda: stage.faults and stage.faults.failed, "the sync that is to fail", COMES_S)
    await wait_until(lambda: _answered_error(stage, 0.0), "an error", COMES_S)
    await stage.loaded(AFTERWARDS_S)
    await _die(stage)
    stage.may_fail(lambda failure: failure.status >= 500 and failure.shard in victim.shards)
    with stage.host.log.open("rb") as log:
        log.seek(already_said)
        if b"event=sync_failed" not in log.read():
            stage.violations.append("a sync failed and the host's log does not say so")
    _tear(stage, stage.faults)
    await stage.restarted()


@dataclass(frozen=True)
class Kind:
    """`needs` of a run: a small "disk", "faults", or nothing."""

    name: str
    act: Callable[[Stage], Awaitable[None]]
    needs: str = ""


KINDS = (
    Kind("kill a worker", kill_worker),
    Kind("kill the control process", kill_control),
    Kind("kill all", kill_all),
    Kind("stop a worker", stop_worker),
    Kind("disk full", disk_full, "disk"),
    Kind("a sync fails", sync_error, "faults"),
    Kind("power cut", power_cut, "faults"),
)


def _kill(pid: int, stage: Stage) -> float:
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    stage.blows += 1
    return at


async def _die(stage: Stage) -> None:
    """SIGKILL to every process under load."""
    stage.load.stop_sending()
    await asyncio.to_thread(stage.host.kill)
    stage.blows += 1
    await stage.load.finish()


def _tear(stage: Stage, faults: Faults) -> None:
    faults.none()
    tears = tear(stage.host.data, faults, stage.chance)
    if tears:
        lost = sum(each.bytes_lost for each in tears)
        stage.notes.append(f"{lost:,} bytes {', '.join(sorted({each.how for each in tears}))}")


def _answered_error(stage: Stage, since: float) -> bool:
    return any(not failure.lost and failure.at > since for failure in stage.load.failures)


def _nothing(_failure: Failure) -> bool:
    return False
