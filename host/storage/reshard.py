"""Puts actors into another number of shards, offline: each record is copied, and counted again where it went.

    1. the shards there are are opened, which no running host allows, and a new folder of shards is filled beside them
    2. the new shards are closed, opened again as after a crash, and read through: the same number of records of each
       kind, the same checksum, each in the shard where a worker would look for it
    3. `layout.json` is replaced by one that names the new folder
    4. the old folder is removed

Cut short before the third step, a reshard has changed nothing that counts; after it, everything is there. The rests of
one that was cut short are removed by the next (`remove_strays`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from host.model.limits import MiB
from host.storage import keys
from host.storage.layout import Layout, shard_of, stray_folders, sync_folder, write_layout
from host.storage.ports import Engine, FolderDamaged, OpenError, Write

Progress = Callable[[str, int], None]
"""Told what is being done ("copied", "verified"), and with how many records so far."""

_SCAN = 64
"""Records read at once: a value has up to 1 MiB."""
_BATCH_BYTES = 4 * MiB
_TELL_EVERY = 10_000


@dataclass
class Tally:
    """What was read or written: records by kind, their bytes, and a checksum that does not depend on their order."""

    records: dict[str, int] = field(default_factory=dict)
    size: int = 0
    checksum: int = 0

    def add(self, kind: str, key: bytes, value: bytes) -> None:
        self.records[kind] = self.records.get(kind, 0) + 1
        self.size += len(key) + len(value)
        digest = blake2b(len(key).to_bytes(4, "big") + key + value, digest_size=8).digest()
        self.checksum = (self.checksum + int.from_bytes(digest, "big")) % (1 << 64)

    @property
    def total(self) -> int:
        return sum(self.records.values())


def copy_actors(sources: Sequence[Engine], shards: Sequence[Engine], told: Progress) -> Tally:
    """Write every record of actors in `sources` to its place in `shards`, durably. Raises OSError, ValueError."""
    tally = Tally()
    writers = [_Writer(engine) for engine in shards]
    for source in sources:
        for kind, number, key, value in _records(source, len(shards)):
            writers[number].put(key, value)
            tally.add(kind, key, value)
            if tally.total % _TELL_EVERY == 0:
                told("copied", tally.total)
    for writer in writers:
        writer.finish()
    told("copied", tally.total)
    return tally


def tally_shards(shards: Sequence[Engine], told: Progress) -> Tally:
    """Read all of them. Raises OSError, and ValueError when an actor is in another shard than its own."""
    tally = Tally()
    for place, engine in enumerate(shards):
        for kind, number, key, value in _records(engine, len(shards)):
            if number != place:
                raise ValueError(f"a record of kind {kind} is in shard {place} instead of {number}")
            tally.add(kind, key, value)
            if tally.total % _TELL_EVERY == 0:
                told("verified", tally.total)
    told("verified", tally.total)
    return tally


def _records(engine: Engine, shards: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    """(kind, shard, key, value) of every record of actors."""
    for kind, bounds in keys.ACTOR_DATA.items():
        beginning, number = b"\x00", 0  # of no key
        for key, value in scan_all(engine, bounds):
            if not key.startswith(beginning):
                actor, beginning = keys.actor_part(key)
                number = shard_of(actor, shards)
            yield kind, number, key, value


def scan_all(engine: Engine, bounds: keys.Range) -> Iterator[tuple[bytes, bytes]]:
    """Every record of a range, a few at a time."""
    start, end = bounds
    while True:
        found = engine.scan(start, end, limit=_SCAN)
        yield from found
        if len(found) < _SCAN:
            return
        start = found[-1][0] + b"\x00"


class _Writer:
    """Gathers the records of one engine into batches."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._batch: list[Write] = []
        self._bytes = 0

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.append((key, value))
        self._bytes += len(key) + len(value)
        if self._bytes > _BATCH_BYTES:
            self._write()

    def finish(self) -> None:
        self._write()
        self._engine.sync()

    def _write(self) -> None:
        self._engine.write(self._batch)
        self._batch, self._bytes = [], 0


def fill(
    data: Path, layout: Layout, sources: Sequence[Engine], open_shard: Callable[[Layout, int], Engine], told: Progress
) -> Tally:
    """Make the shards of `layout`, which do not count yet, fill them from `sources` and verify them.

    Raises OSError, and FolderDamaged when a source cannot be copied whole.
    """
    parent = data / layout.folder
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(mode=0o700)
    try:
        with _Open(layout, open_shard) as shards:
            copied = copy_actors(sources, shards, told)
        with _Open(layout, open_shard) as shards:
            found = tally_shards(shards, told)
    except ValueError as error:
        raise FolderDamaged(f"The state in {data} cannot be copied: {error}. Restore it from a backup.") from error
    if found != copied:
        raise OpenError(f"The copy in {parent} is not like what was copied: check this machine's disk and memory.")
    sync_folder(parent)
    sync_folder(data)
    return copied


class _Open:
    """The engines of a layout's shards, for a `with` block."""

    def __init__(self, layout: Layout, open_shard: Callable[[Layout, int], Engine]) -> None:
        self._layout, self._open_shard = layout, open_shard
        self._engines: list[Engine] = []

    def __enter__(self) -> list[Engine]:
        try:
            for number in range(self._layout.shards):
                self._engines.append(self._open_shard(self._layout, number))
        except BaseException:
            self.__exit__()
            raise
        return self._engines

    def __exit__(self, *_: object) -> None:
        while self._engines:
            self._engines.pop().close()


def reshard(
    data: Path, layout: Layout, count: int, open_shard: Callable[[Layout, int], Engine], told: Progress
) -> tuple[Layout, Tally]:
    """Put the actors of `layout` into `count` shards: the new layout, and what was copied.

    The caller holds the folder's lock. Raises OpenError (FolderLocked while a host runs), OSError.
    """
    remove_strays(data, layout)
    after = Layout(count, layout.next_folder())
    with _Open(layout, open_shard) as sources:
        tally = fill(data, after, sources, open_shard, told)
        write_layout(data, after)
    remove_strays(data, after)
    return after, tally


def remove_strays(data: Path, layout: Layout) -> None:
    """Remove folders of shards that do not count. The caller holds the folder's lock."""
    for folder in stray_folders(data, layout):
        shutil.rmtree(folder, ignore_errors=True)
