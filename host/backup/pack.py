"""Makes a backup of a snapshot: files are linked where that can be done, else copied, and read through for their
checksums; then the manifest is written, and last of all the folder gets the name under which it counts.

All of it blocks. `told` is called again and again meanwhile; what it raises ends the work, and nothing is left behind.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shutil
import stat
import tempfile
from datetime import datetime
from pathlib import Path

from host.backup.archive import ID, MANIFEST, NAME, Manifest, Told, backups_in, digest_of
from host.storage.layout import sync_folder

PARTIAL = ".partial"
REMOVING = ".removing"

_LEFT_OUT = {"LOCK", "LOG"}


def new_id(now: datetime) -> str:
    """Names sort as the moments do, which are UTC and in milliseconds: only one backup is made at a time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond // 1000:03d}"


def moment_of(backup_id: str) -> str:
    """ISO 8601 in UTC."""
    day, hours, ms = backup_id[:8], backup_id[9:15], backup_id[-3:]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{hours[:2]}:{hours[2:4]}:{hours[4:]}.{ms}Z"


def newest(folder: Path) -> datetime | None:
    """The moment of the newest backup in a folder. It reads names only: a backup has its own when it is whole."""
    ids = [path.name for path in folder.iterdir() if ID.fullmatch(path.name)] if folder.is_dir() else []
    return datetime.fromisoformat(moment_of(max(ids))) if ids else None


def link_blobs(source: Path, target: Path) -> None:
    """Have every blob of `source` in `target`, too. One that is deleted meanwhile may be left out. Raises OSError."""
    for path in source.glob("??/*"):
        place = target / path.parent.name / path.name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except (FileExistsError, FileNotFoundError):
            continue


def may_link(source: Path, target: Path) -> bool:
    """Whether files of one folder can be linked into the other. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=source, prefix="backup-") as probe:
        linked = target / Path(probe.name).name
        try:
            os.link(probe.name, linked)
        except OSError:
            return False
        linked.unlink()
    return True


def names_in(snapshot: Path) -> list[str]:
    """The files of a snapshot that belong to a backup. Raises OSError for anything else that is there: a worker, which
    guests run in, may put what it likes into its shards' folders.
    """
    names = []
    for path in sorted(snapshot.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or path.name in _LEFT_OUT:
            continue
        name = str(path.relative_to(snapshot))
        if not stat.S_ISREG(mode) or not NAME.fullmatch(name):
            raise OSError(errno.EINVAL, "there is a file in a shard that is none of the storage's")
        names.append(name)
    return names


def pack(snapshot: Path, folder: Path, backup_id: str, paused_ms: float, told: Told) -> Manifest:
    """The backup `folder / backup_id` of a snapshot, whole and on the disk when this returns. Raises OSError."""
    draft = folder / (backup_id + PARTIAL)
    draft.mkdir(mode=0o700)
    try:
        files = {name: _take(snapshot / name, draft / name, told) for name in names_in(snapshot)}
        version = importlib.metadata.version("tenure")
        made = Manifest(backup_id, moment_of(backup_id), version, paused_ms, files)
        with (draft / MANIFEST).open("xb") as file:
            file.write(made.encode())
            file.flush()
            os.fsync(file.fileno())
        for path in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
            sync_folder(path)
        draft.rename(folder / backup_id)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(folder)
    return made


def _take(source: Path, place: Path, told: Told) -> tuple[int, str]:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # on another disk, or one without links
        shutil.copyfile(source, place)
    with place.open("rb") as file:
        found = digest_of(file, told)
        os.fsync(file.fileno())
    return found


def remove(folder: Path, backup_id: str) -> None:
    """Remove a backup; cut short, it does not count either. Raises OSError, FileNotFoundError when it is not there."""
    hidden = folder / (backup_id + REMOVING)
    (folder / backup_id).rename(hidden)
    shutil.rmtree(hidden)


def keep_newest(folder: Path, count: int) -> list[str]:
    """Remove all whole backups but the newest `count`: the ids of those that went. Raises OSError."""
    old = [one.id for one in backups_in(folder)[:-count]]
    for backup_id in old:
        remove(folder, backup_id)
    return old


def remove_left(folder: Path) -> list[str]:
    """Remove what was cut short while it was made or removed; the ids of half backups. Nothing else is touched."""
    left = []
    for path in folder.iterdir() if folder.is_dir() else ():
        backup_id, dot, ending = path.name.partition(".")
        if ID.fullmatch(backup_id) and dot + ending in (PARTIAL, REMOVING):
            shutil.rmtree(path, ignore_errors=True)
            left += [backup_id] if dot + ending == PARTIAL else []
    return left
