"""The backups of a host: made one at a time while it serves, listed, removed. The admin API's room for them.

    running -> complete      the folder `BACKUPS/ID` is there, with everything
            -> failed        nothing of it is left but the reason, as long as this process lives

A host that is killed in the middle removes what is left of the half backup when it is started again.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from host.backup import pack
from host.backup.archive import Manifest, backups_in
from host.backup.snapshot import Snapshots
from host.model.errors import Conflict, NotFound, TenureError, Unavailable
from host.model.limits import MiB
from host.storage.layout import CONTROL_FOLDER
from host.telemetry import log

SNAPSHOTS_FOLDER = "snapshots"
"""In the data folder, so that files can be linked."""

SPARE_BYTES = 256 * MiB
"""That a disk is to have left besides what a backup takes."""
KEEP_MAX = 1_000

BackupState = Literal["running", "complete", "failed"]

_log = log.get("backup")


@dataclass(frozen=True)
class Backup:
    """`written` of `size` bytes are done; `size` is None until the snapshot is taken. Times as in a manifest.

    `error` says why one failed. `paused_ms` is how long guests waited for it, `files` how many there are.
    """

    id: str
    created_at: str
    state: BackupState
    version: str = ""
    size: int | None = None
    written: int = 0
    files: int | None = None
    paused_ms: float | None = None
    error: str | None = None


class Stopped(Exception):
    """The host stops."""


class Backups:
    """One per host. `folder` is where they are kept, `data` what they are of. Everything runs on the loop."""

    def __init__(self, data: Path, folder: Path, snapshots: Snapshots) -> None:
        self._data = data
        self._folder = folder
        self._snapshots = snapshots
        self._latest: Backup | None = None
        """The one that is made, or that failed."""
        self._task: asyncio.Task[None] | None = None
        self._stopping = threading.Event()

    def remove_left(self) -> None:
        """Remove what was cut short by the end of the last process. Blocks."""
        shutil.rmtree(self._data / SNAPSHOTS_FOLDER, ignore_errors=True)
        self._snapshots.remove_left()
        for backup_id in pack.remove_left(self._folder):
            _log.warn("half_backup_removed", id=backup_id)

    async def close(self) -> None:
        """Give up the one that is being made."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, keep: int | None = None) -> Backup:
        """Begin a backup. When it is complete only the newest `keep` are kept.

        Raises Conflict when one is being made, Unavailable when there is no room.
        """
        self._refuse_another()
        await asyncio.to_thread(self._check_room)
        self._refuse_another()
        backup_id = pack.new_id(datetime.now(UTC))
        begun = self._latest = Backup(backup_id, pack.moment_of(backup_id), "running")
        self._task = asyncio.get_running_loop().create_task(self._make(backup_id, keep), name="backup")
        return begun

    async def all(self) -> list[Backup]:
        """The oldest first: those that are complete, the one that is being made, or that failed last."""
        before = self._latest
        found = {one.id: _complete(one) for one in await asyncio.to_thread(backups_in, self._folder)}
        if before is not None:
            found.setdefault(before.id, before)  # it may have become complete after the folder was read
        if self._latest is not None:
            found[self._latest.id] = self._latest
        return [found[backup_id] for backup_id in sorted(found)]

    async def newest(self) -> datetime | None:
        """When the newest of those that are complete was begun."""
        return await asyncio.to_thread(pack.newest, self._folder)

    async def one(self, backup_id: str) -> Backup:
        """Raises NotFound."""
        for backup in await self.all():
            if backup.id == backup_id:
                return backup
        raise NotFound(f"There is no backup '{backup_id[:80]}'. List them with `tenure backup list`.")

    async def delete(self, backup_id: str) -> None:
        """Raises NotFound, Conflict while it is being made, Unavailable."""
        backup = await self.one(backup_id)
        if backup.state == "running":
            raise Conflict("This backup is being made. Delete it when it is complete.")
        if backup.state == "failed":
            self._latest = None
            return
        try:
            await asyncio.to_thread(pack.remove, self._folder, backup_id)
        except FileNotFoundError:
            raise NotFound(f"There is no backup '{backup_id}' any more.") from None
        except OSError as error:
            _log.error("backup_not_deleted", id=backup_id, error=error)
            raise Unavailable(f"The backup could not be removed: {error.strerror}.") from error

    def _refuse_another(self) -> None:
        if self._latest is not None and self._latest.state == "running":
            raise Conflict(f"The backup {self._latest.id} is being made. Wait until it is complete.")

    def _check_room(self) -> None:
        """Raises Unavailable."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            copied = 0 if pack.may_link(self._data, self._folder) else self._size()
            needed = {self._data: SPARE_BYTES, self._folder: SPARE_BYTES + copied}
            for folder, bytes_needed in needed.items():
                free = shutil.disk_usage(folder).free
                if free < bytes_needed:
                    what = "of the backups" if folder is self._folder else "of the data folder"
                    there_is, needs = f"{free // MiB:,} MiB", f"{bytes_needed // MiB:,} MiB"
                    raise Unavailable(
                        f"The disk {what} has {there_is} free, and a backup needs {needs}. Delete older backups, or "
                        "make room."
                    )
        except OSError as error:
            _log.error("no_backup_folder", folder=self._folder, error=error)
            raise Unavailable(f"The folder for backups cannot be used: {error.strerror}.") from error

    def _size(self) -> int:
        parts = (CONTROL_FOLDER, self._snapshots.layout.folder, "blobs")
        return sum(_size_of(path) for part in parts for path in (self._data / part).rglob("*"))

    async def _make(self, backup_id: str, keep: int | None) -> None:
        staging = self._data / SNAPSHOTS_FOLDER / backup_id
        try:
            paused_ms = await self._snapshot(staging)
            size = await asyncio.to_thread(lambda: sum(map(_size_of, staging.rglob("*"))))
            self._now_is(size=size, paused_ms=paused_ms)
            made = await asyncio.to_thread(pack.pack, staging, self._folder, backup_id, paused_ms, self._told)
            _log.info("backup_made", id=backup_id, bytes=made.size, paused_ms=paused_ms)
            if keep is not None:
                await self._keep_newest(keep)
            self._latest = None
        except TenureError as error:
            self._failed(error.detail)
        except Stopped:
            self._failed("The host was stopped.")
        except OSError as error:
            _log.error("backup_not_written", error=error)
            self._failed(f"The backup could not be written: {error.strerror or 'see the log of the host'}.")
        except Exception as error:
            _log.exception("backup_failed", error)
            self._failed("The host failed on it; its log says why.")
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)

    async def _keep_newest(self, keep: int) -> None:
        try:
            gone = await asyncio.to_thread(pack.keep_newest, self._folder, keep)
            _log.info("old_backups_removed", ids=gone)
        except OSError as error:  # the one that was made is complete all the same
            _log.error("old_backups_not_removed", error=error)

    async def _snapshot(self, staging: Path) -> float:
        """Blobs are linked before and after: one that comes or goes meanwhile is there if a version needs it."""
        blobs = (self._data / "blobs", staging / "blobs")
        await asyncio.to_thread(staging.mkdir, mode=0o700, parents=True)
        await asyncio.to_thread(pack.link_blobs, *blobs)
        paused_ms = await self._snapshots.take(staging)
        await asyncio.to_thread(pack.link_blobs, *blobs)
        return paused_ms

    def _told(self, count: int) -> None:
        """In a thread, the only one that writes meanwhile."""
        if self._stopping.is_set():
            raise Stopped
        assert self._latest is not None
        self._latest = replace(self._latest, written=self._latest.written + count)

    def _now_is(self, *, size: int, paused_ms: float) -> None:
        assert self._latest is not None
        self._latest = replace(self._latest, size=size, paused_ms=paused_ms)

    def _failed(self, error: str) -> None:
        if self._latest is not None:
            _log.error("backup_failed", id=self._latest.id, why=error)
            self._latest = replace(self._latest, state="failed", error=error)


def _complete(one: Manifest) -> Backup:
    size = one.size
    return Backup(one.id, one.created_at, "complete", one.version, size, size, len(one.files), one.paused_ms)


def _size_of(path: Path) -> int:
    try:
        return 0 if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0
