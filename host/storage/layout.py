"""Where a host's state lies in its data folder, and which shard an actor belongs to.

    DATA/layout.json       how many shards there are and which folder holds them; replaced whole, by a rename
    DATA/control/          the registry's engine
    DATA/shards/000/ ...   one engine for each shard, with the actors of that shard and their alarms

The number of shards is decided when the folder is made and changed by `storage.reshard` only, which fills another
folder of shards (`shards-2`) and then replaces `layout.json`: that rename is the one moment when the new shards count.

A worker W of N serves the shards {s : s % N == W}, so the number of workers may change from one start to the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from host.model.ids import ActorId
from host.storage.ports import FolderDamaged, FolderForeign, OpenError

LAYOUT_FILE = "layout.json"
LAYOUT_VERSION = 1
CONTROL_FOLDER = "control"
FIRST_SHARDS_FOLDER = "shards"
SHARDS_MAX = 1_000
"""Shards are numbered with three digits."""

_SHARDS_FOLDER = re.compile(r"shards(-[1-9][0-9]*)?")


class Layout(NamedTuple):
    """What `layout.json` says. `folder` is the name, in the data folder, of the folder that holds the shards."""

    shards: int
    folder: str = FIRST_SHARDS_FOLDER

    def shard_folder(self, data: Path, shard: int) -> Path:
        return data / self.folder / f"{shard:03d}"

    def next_folder(self) -> str:
        """The name for the folder of the shards that are to replace these."""
        _, _, number = self.folder.partition("-")
        return f"{FIRST_SHARDS_FOLDER}-{int(number or 1) + 1}"


def shard_of(actor: ActorId, shards: int) -> int:
    """The shard of an actor: the same on every machine and in every version of Tenure.

    Shape: blake2b, 8 bytes, little-endian, of "LEN:tenant" "LEN:type" "name" (lengths in characters, decimal), modulo
    the number of shards.
    """
    if shards == 1:
        return 0
    tenant, actor_type, name = actor
    text = f"{len(tenant)}:{tenant}{len(actor_type)}:{actor_type}{name}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") % shards


def read_layout(data: Path) -> Layout | None:
    """None for a folder that has none yet. Raises OpenError (FolderForeign, FolderDamaged)."""
    path = data / LAYOUT_FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OpenError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        found = json.loads(text)
        version, shards, folder = found["version"], found["shards"], found["folder"]
        if isinstance(version, int) and version > LAYOUT_VERSION:
            raise FolderForeign(
                f"{data} was written by a newer tenure (layout {version}; this one knows up to {LAYOUT_VERSION}). "
                "Run that version or a later one; nothing was changed."
            )
        known = version == LAYOUT_VERSION and type(shards) is int and isinstance(folder, str)
        if known and 1 <= shards <= SHARDS_MAX and _SHARDS_FOLDER.fullmatch(folder):
            return Layout(shards, folder)
    except (ValueError, TypeError, KeyError):
        pass
    raise FolderDamaged(f"{path} is unreadable. Restore it from a backup of {data}.")


def write_layout(data: Path, layout: Layout) -> None:
    """Replace `layout.json`: after a crash it is the old one or this one, whole. Raises OSError."""
    record = {"version": LAYOUT_VERSION, "shards": layout.shards, "folder": layout.folder}
    fresh = data / (LAYOUT_FILE + ".new")
    with fresh.open("w") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(data / LAYOUT_FILE)
    sync_folder(data)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def stray_folders(data: Path, layout: Layout | None) -> list[Path]:
    """Folders of shards that count no more, or not yet: what a `reshard` that was cut short left behind."""
    with contextlib.suppress(FileNotFoundError):
        names = (name for name in os.listdir(data) if _SHARDS_FOLDER.fullmatch(name))
        return sorted(data / name for name in names if layout is None or name != layout.folder)
    return []
