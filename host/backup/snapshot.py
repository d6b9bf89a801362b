"""A snapshot of a running host: the registry and all shards as they were at one moment.

While they are copied no guest begins or ends anything in any worker. So a snapshot is a state that the host was in, the
one that a power cut at that moment would have left at best: a turn is in it whole or not at all, with all that it had
learned from others, whichever shards those are in; and what was acknowledged before is in it.

    prepare     what is in memory is written to files, so that the rest takes less time; nobody waits
    pause       in every worker; only when all have paused does anybody copy
    copy        the registry first, then the shards. So what the registry does behind guests' backs, such as forgetting
                a tenant once its actors are erased, is in the copy only if what it rests on is
    resume      always. A worker that does not hear from the control process any more does so by itself

Files that never change are linked, not copied, so the pause does not grow with what the host keeps.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from host.cluster.kinds import Kind
from host.model.clock import Clock, TimerHandle
from host.model.errors import StorageBroken, TenureError, Unavailable
from host.storage.layout import CONTROL_FOLDER, LAYOUT_FILE, Layout
from host.supervisor.asking import NO_ANSWER, Answering
from host.supervisor.staff import Staff
from host.telemetry import log

if TYPE_CHECKING:  # the control process starts without them
    from host.sandbox.scheduler import Scheduler
    from host.storage.rocks import RocksEngine

COPY_FOLDER = "copy"
"""In a shard's own folder, because a worker may write nowhere else. Its engine takes no notice of it."""

PAUSE_S_MAX = 5.0
PREPARE_S_MAX = 60.0
PATIENCE_S, AGAIN_S = 15.0, 0.2
"""How long, and how often, it is tried again while a worker is not there."""
FAILED = "The shards could not be copied; the host's log says why. Is its disk full?"
TOO_SLOW = (
    "Copying the shards took longer than guests can wait, so it was given up. Try again when there is less to do."
)

_log = log.get("backup.snapshot")


class ShardCopies:
    """A worker's part. `engines()` are those of the shards that it serves, of which there should be `own`."""

    def __init__(
        self, engines: Callable[[], Mapping[int, RocksEngine]], own: int, scheduler: Scheduler, clock: Clock
    ) -> None:
        self._engines = engines
        self._own = own
        self._scheduler = scheduler
        self._clock = clock
        self._expiry: TimerHandle | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._files = asyncio.Lock()

    def held_back(self, answering: Mapping[int, Answering]) -> Mapping[int, Answering]:
        """The same questions, which begin to be answered when there is no pause: for what changes things without a
        guest.
        """

        def held(answer: Answering) -> Answering:
            async def later(question: Any) -> Any:
                await self._going.wait()
                return await answer(question)

            return later

        return {kind: held(answer) for kind, answer in answering.items()}

    def answering(self) -> Mapping[int, Answering]:
        """What a worker answers to `Snapshots`."""
        return {Kind.COPY_SHARDS: self._answer}

    def resume(self) -> bool:
        """Whether there was a pause until now."""
        if self._going.is_set():
            return False
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None
        self._scheduler.resume()
        self._going.set()
        return True

    async def _answer(self, step: str) -> Any:
        if step == "resume":
            return self.resume()
        engines = self._engines()
        if len(engines) < self._own:
            raise Unavailable(NO_ANSWER)
        if step == "pause":
            self._pause()
            return None
        work = _copy if step == "copy" else _prepare
        try:
            async with self._files:  # also if nobody waits for the one before any more
                await _to_the_end(*(asyncio.to_thread(work, engine) for engine in engines.values()))
        except OSError as error:
            _log.error("shards_not_copied", step=step, error=error)
            raise StorageBroken(FAILED) from error

    def _pause(self) -> None:
        self.resume()
        self._going.clear()
        self._scheduler.pause()
        self._expiry = self._clock.call_later(PAUSE_S_MAX, self._give_up)

    def _give_up(self) -> None:
        _log.error("pause_given_up", seconds=PAUSE_S_MAX)
        self.resume()


class Snapshots:
    """The control process's part. `slots()` are those of all workers that there should be."""

    def __init__(
        self, data: Path, layout: Layout, control: RocksEngine, staff: Staff, slots: Callable[[], Sequence[int]]
    ) -> None:
        self.data = data
        self.layout = layout
        self._control = control
        self._staff = staff
        self._slots = slots

    async def take(self, folder: Path) -> float:
        """Put a snapshot into `folder`, which is empty and on the disk of the data. How long guests waited, in ms.

        If a worker dies or is being replaced, it is begun again when its successor is there. Raises Unavailable,
        StorageBroken; then nothing waits, and what is in `folder` is of no use.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self._take(folder)
            except Unavailable as error:
                if error.detail != NO_ANSWER or time.monotonic() > end:
                    raise
            await asyncio.sleep(AGAIN_S)
            for part in (CONTROL_FOLDER, self.layout.folder):
                await asyncio.to_thread(shutil.rmtree, folder / part, ignore_errors=True)

    async def _take(self, folder: Path) -> float:
        try:
            async with asyncio.timeout(PREPARE_S_MAX):
                await _to_the_end(*self._each("prepare"), asyncio.to_thread(self._control.flush))
            began = time.monotonic()
            paused: list[bool | None] = []
            try:
                async with asyncio.timeout(PAUSE_S_MAX):
                    await _to_the_end(*self._each("pause"))
                    await asyncio.to_thread(self._control.checkpoint, folder / CONTROL_FOLDER)
                    await _to_the_end(*self._each("copy"))
            finally:
                paused = await asyncio.gather(*map(self._resume, self._slots()))
            paused_ms = round((time.monotonic() - began) * 1000, 1)
            if not all(paused):
                raise Unavailable(NO_ANSWER if None in paused else TOO_SLOW)
            await asyncio.to_thread(self._collect, folder)
        except TimeoutError:
            raise Unavailable(TOO_SLOW) from None
        except OSError as error:
            _log.error("snapshot_failed", error=error)
            raise StorageBroken(FAILED) from error
        _log.info("snapshot_taken", paused_ms=paused_ms)
        return paused_ms

    def remove_left(self) -> None:
        """Remove what a snapshot that was cut short has left in the shards' folders. Blocks."""
        for shard in range(self.layout.shards):
            _remove_copy(self.layout.shard_folder(self.data, shard))

    def _each(self, step: str) -> list[Awaitable[Any]]:
        return [self._staff.ask(slot, Kind.COPY_SHARDS, step) for slot in self._slots()]

    async def _resume(self, slot: int) -> bool | None:
        """Whether it had paused until now; None if it does not say."""
        try:
            async with asyncio.timeout(PAUSE_S_MAX):
                return bool(await self._staff.ask(slot, Kind.COPY_SHARDS, "resume"))
        except (TenureError, TimeoutError):  # it died, and so did its pause; or it ends the pause by itself
            return None

    def _collect(self, folder: Path) -> None:
        (folder / self.layout.folder).mkdir(mode=0o700)
        for shard in range(self.layout.shards):
            copy = self.layout.shard_folder(self.data, shard) / COPY_FOLDER
            copy.rename(self.layout.shard_folder(folder, shard))
        shutil.copyfile(self.data / LAYOUT_FILE, folder / LAYOUT_FILE)


def _prepare(engine: RocksEngine) -> None:
    _remove_copy(engine.path)
    engine.flush()


def _copy(engine: RocksEngine) -> None:
    engine.checkpoint(engine.path / COPY_FOLDER)


def _remove_copy(shard: Path) -> None:
    shutil.rmtree(shard / COPY_FOLDER, ignore_errors=True)
    shutil.rmtree(shard / f"{COPY_FOLDER}.tmp", ignore_errors=True)  # where RocksDB fills it


async def _to_the_end(*work: Awaitable[Any]) -> None:
    """Returns when all of it has ended, well or not, so that nothing is still being copied. Raises what one raised."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
