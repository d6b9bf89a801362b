"""Opens a host's state and sees to it that this host understands its layout.

Each engine holds one FORMAT record: the version of the layout that `storage.keys` describes. It is the first thing
written to a new folder. A newer one is refused, untouched: an older host would misread it. An older one is brought
up here, step by step, each step one batch that ends with the new FORMAT record; so far there is none.

A data folder of a host that was one process has all its state in one engine, `state/`. `prepare` copies it into
`control/` and `shards/` the first time; like `reshard`, it counts only once `layout.json` is there.

Engines are made before `layout.json` names them, and never after: a shard that is missing is an error, not a new one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from host.model.limits import MiB
from host.storage import keys
from host.storage.layout import CONTROL_FOLDER, Layout, read_layout, stray_folders, sync_folder, write_layout
from host.storage.ports import Engine, FolderDamaged, FolderForeign, FolderLocked, OpenError
from host.storage.reshard import Progress, Tally, fill, remove_strays, reshard, scan_all
from host.storage.rocks import CACHE_BYTES, RocksEngine
from host.telemetry.log import get

STATE_FOLDER = "state"
OLD_STATE_FOLDER = "state.old"
LOCK_FILE = "lock"
COPY_CACHE_BYTES = 8 * MiB

_log = get("storage.upgrade")


class DataLock:
    """Held on a data folder by whoever may change its layout: a host's control process, or `tenure data`.

    It ends with the process. Raises OpenError (FolderLocked).
    """

    def __init__(self, data: Path) -> None:
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file: int | None = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise FolderForeign(f"{data} is a file: name a folder for the data.") from error
        except OSError as error:
            raise OpenError(f"The data folder {data} cannot be used: {error.strerror}.") from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise FolderLocked(
                f"The data folder {data} is locked: another tenure is running on it. Stop that one or name another."
            ) from error

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def prepare(data: Path, shards: int, told: Progress = lambda what, count: None) -> Layout:
    """The layout of a data folder, which is made when there is none: with `shards` shards, and with all that a host
    of one process left there. The caller holds the DataLock.

    Raises OpenError (FolderForeign, FolderDamaged, FolderLocked), OSError.
    """
    layout = read_layout(data)
    old = data / STATE_FOLDER
    if layout is not None:
        if old.exists():
            _log.warn("state_unused", folder=old, advice="an older tenure left it there: move it away")
        shutil.rmtree(data / OLD_STATE_FOLDER, ignore_errors=True)
        remove_strays(data, layout)
        return layout
    layout = Layout(shards)
    if old.exists():
        _migrate(data, layout, told)
        return layout
    for left in (data / CONTROL_FOLDER, *stray_folders(data, None)):
        if not all(_is_empty(engine) for engine in [left, *left.glob("*/")]):
            raise FolderDamaged(
                f"{data} holds state in {left.name} but no layout.json to say what counts. Restore it from a backup."
            )
        shutil.rmtree(left, ignore_errors=True)  # of a first start that was cut short
    _make(data / CONTROL_FOLDER)
    for shard in range(shards):
        _make(layout.shard_folder(data, shard))
    sync_folder(data / layout.folder)
    write_layout(data, layout)
    _log.info("layout_made", folder=data, shards=shards)
    return layout


def _is_empty(folder: Path) -> bool:
    if not any(path.is_file() for path in folder.glob("*")):
        return True
    engine = _open(folder, COPY_CACHE_BYTES)
    try:
        return not engine.scan(keys.after(keys.FORMAT_KEY), b"\xff", limit=1)
    finally:
        engine.close()


def _make(folder: Path) -> None:
    _open(folder, COPY_CACHE_BYTES).close()


def _migrate(data: Path, layout: Layout, told: Progress) -> None:
    old = open_engine(data)
    try:
        known = [keys.under(keys.FORMAT_KEY), *keys.ACTOR_DATA.values(), keys.REGISTRY]
        _check_known(old, known, str(old.path))
        shutil.rmtree(data / CONTROL_FOLDER, ignore_errors=True)
        tally = fill(data, layout, [old], _opener(data), told)
        registry = list(scan_all(old, keys.REGISTRY))
        control = _open(data / CONTROL_FOLDER, COPY_CACHE_BYTES)
        try:
            control.write(registry)
            control.sync()
        finally:
            control.close()
        sync_folder(data)
        write_layout(data, layout)
    finally:
        old.close()
    gone = data / OLD_STATE_FOLDER
    shutil.rmtree(gone, ignore_errors=True)
    old.path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    _log.info("layout_migrated", folder=data, shards=layout.shards, records=tally.total + len(registry))


def _check_known(engine: Engine, known: list[keys.Range], folder: str) -> None:
    """Refuse to leave anything behind."""
    start = b"\x00"
    for low, high in sorted(known):
        if engine.scan(start, low, limit=1):
            break
        start = high
    else:
        if not engine.scan(start, b"\xff" * 8, limit=1):
            return
    raise FolderForeign(f"{folder} holds records of a kind that this tenure does not know; nothing was changed.")


def reshard_folder(data: Path, count: int, told: Progress) -> tuple[Layout, Layout, Tally]:
    """Change the number of shards of a data folder: the layout before and after, and what was copied.

    Raises OpenError (FolderLocked while a host runs on it, FolderForeign, FolderDamaged), OSError.
    """
    if read_layout(data) is None and not (data / STATE_FOLDER).exists():
        raise FolderForeign(f"{data} is no data folder of a host: it has no layout.json.")
    lock = DataLock(data)
    try:
        before = prepare(data, count)
        control = open_control(data)  # its lock keeps a host from starting meanwhile, as the shards' locks do
        try:
            if before.shards == count:
                return before, before, Tally()
            after, tally = reshard(data, before, count, _opener(data), told)
        finally:
            control.close()
        return before, after, tally
    finally:
        lock.release()


def open_control(data: Path) -> RocksEngine:
    """The registry's engine. Raises OpenError (FolderDamaged when it is missing)."""
    return _open_made(data / CONTROL_FOLDER, CACHE_BYTES)


def open_shard(data: Path, layout: Layout, shard: int, cache_bytes: int = CACHE_BYTES) -> RocksEngine:
    """The engine of one shard. Raises OpenError (FolderDamaged when it is missing)."""
    return _open_made(layout.shard_folder(data, shard), cache_bytes)


def _opener(data: Path) -> Callable[[Layout, int], Engine]:
    """Opens shards of a layout that `layout.json` names, and makes those of one that it does not name yet."""

    def opened(layout: Layout, shard: int) -> Engine:
        counts = read_layout(data) == layout
        return (_open_made if counts else _open)(layout.shard_folder(data, shard), COPY_CACHE_BYTES)

    return opened


def _open_made(folder: Path, cache_bytes: int) -> RocksEngine:
    if not folder.exists():
        raise FolderDamaged(f"{folder} is missing, which holds a part of this host's state. Restore it from a backup.")
    return _open(folder, cache_bytes)


def open_engine(data_dir: Path | str) -> RocksEngine:
    """The engine of a data folder of the old layout, `<data_dir>/state`, made if it is not there.

    Raises OpenError (FolderLocked, FolderForeign, FolderDamaged) with a message for the operator.
    """
    return _open(Path(data_dir) / STATE_FOLDER, CACHE_BYTES)


def _open(folder: Path, cache_bytes: int) -> RocksEngine:
    engine = RocksEngine(folder, cache_bytes=cache_bytes)
    try:
        check_format(engine, str(engine.path))
    except BaseException:
        engine.close()
        raise
    return engine


def check_format(engine: Engine, folder: str) -> None:
    """Write the FORMAT record to an empty engine, else hold it against ours. `folder` is how errors name the engine."""
    found = engine.get(keys.FORMAT_KEY)
    if found is None:
        if engine.scan(b"\x00", b"\xff", limit=1):
            raise FolderForeign(f"{folder} holds data without Tenure's format record: name an empty or a new folder.")
        engine.write([(keys.FORMAT_KEY, str(keys.FORMAT_VERSION).encode())])
        engine.sync()
        _log.info("storage_created", folder=folder, format=keys.FORMAT_VERSION)
        return
    if not found.isdigit():
        raise FolderDamaged(f"The format record in {folder} is unreadable. Restore the folder from a backup.")
    version = int(found)
    if version > keys.FORMAT_VERSION:
        raise FolderForeign(
            f"{folder} was written by a newer tenure (format {version}; this one knows up to {keys.FORMAT_VERSION}). "
            "Run that version or a later one; nothing was changed."
        )
    if version < keys.FORMAT_VERSION:
        raise FolderDamaged(f"{folder} says it has format {version}, which never existed. Restore it from a backup.")
