"""Opens a host's state and sees to it that this host understands its layout.

The engine holds one FORMAT record: the version of the layout that `storage.keys` describes. It is the first thing
written to a new folder. A newer one is refused, untouched: an older host would misread it. An older one is brought
up here, step by step, each step one batch that ends with the new FORMAT record; so far there is none.
"""

from __future__ import annotations

from pathlib import Path

from host.storage import keys
from host.storage.ports import Engine, FolderDamaged, FolderForeign
from host.storage.rocks import RocksEngine
from host.telemetry.log import get

STATE_FOLDER = "state"

_log = get("storage.upgrade")


def open_engine(data_dir: Path | str) -> RocksEngine:
    """The engine in `<data_dir>/state`, made if it is not there.

    Raises OpenError (FolderLocked, FolderForeign, FolderDamaged) with a message for the operator.
    """
    engine = RocksEngine(Path(data_dir) / STATE_FOLDER)
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
