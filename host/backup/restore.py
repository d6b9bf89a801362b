"""Makes a data folder of a backup, while no host runs on it.

    1. the manifest is read and the names of all files are held against it
    2. every file is copied to `DATA/restoring`, and its checksum compared on the way
    3. all engines are opened there, as a host would, and read through
    4. what is there moves into its place, and `layout.json`, without which no host takes a folder for its own, is
       written last

What is wrong with a backup is found before the fourth step, and then nothing is left of it in DATA. Cut short at any
point, DATA is no data folder, and the next restore into it begins afresh.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host.backup.archive import (
    CHUNK_BYTES,
    BackupError,
    Manifest,
    Told,
    check_names,
    damaged,
    open_file,
    read_manifest,
)
from host.model.limits import MiB
from host.registry.records import FunctionRecord, SecretRecord, TenantRecord
from host.registry.store import UnreadableRecord, read_all
from host.storage.layout import CONTROL_FOLDER, LAYOUT_FILE, Layout, read_layout, sync_folder, write_layout
from host.storage.ports import FolderLocked, OpenError
from host.storage.reshard import tally_shards
from host.storage.rocks import RocksEngine
from host.storage.upgrade import LOCK_FILE, DataLock, open_control, open_shard

RESTORING = "restoring"
_MAY_BE_THERE = {LOCK_FILE, "secrets.key", "operator.key", "lost+found", RESTORING}
_CACHE_BYTES = 8 * MiB


@dataclass(frozen=True)
class Restored:
    """What there is now. `secrets`: how many, which only the key opens that they were stored with."""

    manifest: Manifest
    tenants: int
    functions: int
    actors: int
    secrets: int


def restore(backup: Path, data: Path, told: Told) -> Restored:
    """Make `data`, which is empty but for keys, or not there, what the backup was taken of.

    Raises BackupError, OSError.
    """
    manifest = read_manifest(backup)
    check_names(backup, manifest)
    _check_empty(data)
    try:
        lock = DataLock(data)
    except OpenError as error:
        raise BackupError(
            f"Another restore into {data} is under way." if isinstance(error, FolderLocked) else str(error)
        ) from None
    draft = data / RESTORING
    try:
        _remove_left(data)
        check_room(data, manifest.size)
        try:
            layout = unpack(backup, manifest, draft, told)
            restored = _looked_at(backup, manifest, draft, layout)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _settle(data, draft, layout)
        return restored
    finally:
        lock.release()


def check_room(folder: Path, needed: int) -> None:
    """Raises BackupError unless the folder's disk has room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(
            f"The disk of {folder} has {free // MiB:,} MiB free, and {needed // MiB + 1:,} MiB are needed. Make room, "
            "or choose another disk."
        )


def unpack(
    backup: Path, manifest: Manifest, folder: Path, told: Told, wanted: Callable[[str], bool] = lambda _name: True
) -> Layout:
    """Put the files of a backup into the new folder `folder`, synced; or those only whose name is wanted. `layout.json`
    is among them.

    Raises BackupError, OSError.
    """
    folder.mkdir(mode=0o700)
    for name, (size, digest) in manifest.files.items():
        if not (wanted(name) or name == LAYOUT_FILE):
            continue
        place = folder / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_file(backup, name) as source, place.open("xb") as target:
            os.fchmod(target.fileno(), 0o400 if name.startswith("blobs/") else 0o600)
            found, length = hashlib.sha256(), 0
            while data := source.read(CHUNK_BYTES):
                target.write(data)
                found.update(data)
                length += len(data)
                told(len(data))
            target.flush()
            os.fsync(target.fileno())
        if (length, found.hexdigest()) != (size, digest):
            raise damaged(backup, name)
    try:
        layout = read_layout(folder)
    except OpenError as error:
        raise BackupError(str(error)) from None
    if layout is None:
        raise BackupError(f"{backup} is not whole: {LAYOUT_FILE} is missing.")
    return layout


@contextmanager
def shards_of(folder: Path, layout: Layout) -> Iterator[list[RocksEngine]]:
    """The engines of all shards. Raises BackupError when one cannot be opened."""
    shards: list[RocksEngine] = []
    try:
        for shard in range(layout.shards):
            shards.append(open_shard(folder, layout, shard, _CACHE_BYTES))
        yield shards
    except OpenError as error:
        raise BackupError(str(error)) from None
    finally:
        for engine in shards:
            engine.close()


def _check_empty(data: Path) -> None:
    """Raises BackupError."""
    if not data.exists():
        return
    if not data.is_dir():
        raise BackupError(f"{data} is a file: name a folder for the data.")
    names = {path.name for path in data.iterdir()}
    strange = names - _MAY_BE_THERE
    if RESTORING in names and LAYOUT_FILE not in names:
        strange -= {name for name in strange if _is_ours(name)}
    if strange:
        raise BackupError(
            f"{data} is not empty: it has {sorted(strange)[0]!r}. Name a new folder, or an empty one; nothing was "
            "changed."
        )


def _is_ours(name: str) -> bool:
    """Whether a restore that was cut short may have left it, beside `restoring`."""
    return name in (CONTROL_FOLDER, "blobs", LAYOUT_FILE + ".new") or name.startswith("shards")


def _remove_left(data: Path) -> None:
    """Of a restore that was cut short; `_check_empty` has seen to it that nothing else is there."""
    for path in data.iterdir():
        if path.is_dir() and (path.name == RESTORING or _is_ours(path.name)):
            shutil.rmtree(path)


def _looked_at(backup: Path, manifest: Manifest, folder: Path, layout: Layout) -> Restored:
    """Raises BackupError for a state that no host had, whatever the checksums say."""
    try:
        control = open_control(folder)
        try:
            tenants, functions = len(read_all(control, TenantRecord)), len(read_all(control, FunctionRecord))
            secrets = len(read_all(control, SecretRecord))
        finally:
            control.close()
        with shards_of(folder, layout) as shards:
            tally = tally_shards(shards, lambda _what, _count: None)
    except (ValueError, OpenError, UnreadableRecord) as error:
        raise BackupError(f"{backup} holds a state that no host had: {error}") from None
    return Restored(manifest, tenants, functions, tally.records.get("actors", 0), secrets)


def _settle(data: Path, draft: Path, layout: Layout) -> None:
    for path in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
        sync_folder(path)
    for path in sorted(draft.iterdir()):
        if path.name != LAYOUT_FILE:
            path.rename(data / path.name)
    sync_folder(data)
    write_layout(data, layout)
    shutil.rmtree(draft)
    sync_folder(data)
