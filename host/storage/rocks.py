"""The engine that keeps data on this machine's disk: RocksDB through rocksdict, in raw mode (bytes in, bytes out).

Tuned for many small values that are written far more often than they are scanned. What is chosen, and why:
- Every write goes to the write-ahead log and, as rocksdict leaves `manual_wal_flush` off, is handed to the operating
  system before `write` returns: a killed process loses nothing that was written, a power cut nothing that was synced.
- A sync is `flush_wal(True)`, not `write(sync=True)`: it releases the GIL while the disk works.
- Recovery stops at the first torn record of the log (point in time). What was synced is always before it.
- Logs are not recycled, although that makes syncs cheaper: recovery of several recycled logs can drop records
  (facebook/rocksdb pull request 12918).
- A scan bounds its iterator above only. rocksdict 0.3.29 applies a lower bound as an upper one; seeking does its work.
- A snapshot is an iterator that is sought again for each scan: those that rocksdict's own snapshots make read what is
  there now.
- A scan asks the iterator for its status at the end, so that a read error is never taken for the end of the data.
- A write makes a batch of its own: rocksdict consumes a batch as it writes it.

Invariants: one process has a folder open; no exception of rocksdict leaves this module, they become OSError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
)

from host.model.limits import MiB
from host.storage.ports import DeleteRange, FolderDamaged, FolderForeign, FolderLocked, OpenError, Write

CACHE_BYTES = 64 * MiB
WRITE_BUFFER_BYTES = 64 * MiB
BLOOM_BITS_PER_KEY = 10
OPEN_FILES_MAX = 512

_FILES_OF_A_NEW_FOLDER = re.compile(
    r"LOCK|LOG(\.old\.\d+)?|IDENTITY|MANIFEST-\d+|OPTIONS-\d+|\d+\.dbtmp|rocksdict-config.json"
)
_FILES_WITH_DATA = re.compile(r"\d+\.(sst|log|blob)")


class RocksEngine:
    """`ports.Engine` over the RocksDB in folder `path`, which is made if it is not there.

    Raises OpenError (FolderLocked, FolderForeign, FolderDamaged) with a message for the operator.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = Path(path)
        _check_folder(self.path)
        try:
            self._db = Rdict(str(self.path), _options(cache_bytes))
        except Exception as error:
            raise _open_error(self.path, str(error)) from error
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._failure("read", error) from error
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        try:
            bounds = ReadOptions()
            bounds.set_iterate_upper_bound(end)
            return _scan(self._db.iter(bounds), start, end, reverse, limit)
        except Exception as error:
            raise self._failure("read", error) from error

    def snapshot(self) -> RocksSnapshot:
        try:
            return RocksSnapshot(self._db.iter(), self.path)
        except Exception as error:
            raise self._failure("read", error) from error

    def checkpoint(self, folder: Path) -> None:
        """Put a copy of all that is written by now into `folder`, which is made: an engine of its own, opened like any
        other. Files that never change are linked, if `folder` is on the same disk; what is in memory is written to a
        file first. Blocks, without the GIL. Raises OSError, also when there is such a folder.
        """
        try:
            Checkpoint(self._db).create_checkpoint(str(folder))
        except Exception as error:
            raise self._failure("copy", error) from error

    def flush(self) -> None:
        """Write what is in memory to a file: a checkpoint that follows takes less time. Blocks. Raises OSError."""
        try:
            self._db.flush()
        except Exception as error:
            raise self._failure("write", error) from error

    def write(self, batch: Iterable[Write]) -> None:
        pending = WriteBatch(True)
        for write in batch:
            if isinstance(write, DeleteRange):
                if write.start < write.end:  # RocksDB refuses a batch with another
                    pending.delete_range(write.start, write.end)
                continue
            key, value = write
            if value is None:
                pending.delete(key)
            else:
                pending.put(key, value)
        try:
            self._db.write(pending)
        except Exception as error:
            raise self._failure("write", error) from error

    def sync(self) -> None:
        try:
            self._db.flush_wal(True)
        except Exception as error:
            raise self._failure("sync", error) from error

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._db.close()
            except Exception as error:
                raise self._failure("close", error) from error

    def property(self, name: str) -> str | None:
        """What RocksDB says of itself, such as "rocksdb.estimate-num-keys"; None for a name it does not know."""
        try:
            return self._db.property_value(name)
        except Exception as error:
            raise self._failure("read", error) from error

    def _failure(self, action: str, error: Exception) -> OSError:
        reason = "it is closed" if self._closed else _first_line(str(error))
        return OSError(f"cannot {action} the storage in {self.path}: {reason}")


class RocksSnapshot:
    """`ports.Scanned`: an engine's data as they were when `cursor` was made. For one thread at a time."""

    def __init__(self, cursor: RdictIter, path: Path) -> None:
        self._cursor = cursor
        self._path = path

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        try:
            return _scan(self._cursor, start, end, reverse, limit)
        except Exception as error:
            raise OSError(f"cannot read the storage in {self._path}: {_first_line(str(error))}") from error


def _scan(cursor: RdictIter, start: bytes, end: bytes, reverse: bool, limit: int | None) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    if start >= end or limit == 0:
        return found
    if reverse:
        cursor.seek_for_prev(end)
        step = cursor.prev
    else:
        cursor.seek(start)
        step = cursor.next
    while cursor.valid():
        key: bytes = cursor.key()
        if key >= end and reverse:
            step()
            continue
        if not start <= key < end:
            break
        found.append((key, cursor.value()))
        if len(found) == limit:
            break
        step()
    cursor.status()
    return found


def _options(cache_bytes: int) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(cache_bytes))
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    # The cache's size then bounds what reading holds, however much data there is.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)

    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_open_files(OPEN_FILES_MAX)
    # Young data is rewritten soon and read most: only what has settled is worth compressing.
    options.set_compression_type(DBCompressionType.lz4())
    options.set_min_level_to_compress(2)
    # Flushes and compactions reach the disk bit by bit instead of in one burst that syncs would queue behind.
    options.set_bytes_per_sync(1 * MiB)
    # An actor that empties itself leaves tombstones that every scan of it steps over: compact those files early.
    options.add_compact_on_deletion_collector_factory(4_096, 2_048, 0.5)
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(8 * MiB)
    options.set_stats_dump_period_sec(0)
    return options


def _check_folder(path: Path) -> None:
    """Refuse a folder in which RocksDB would start afresh beside what is there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = os.listdir(path)
    except FileExistsError as error:
        raise FolderForeign(f"{path} is a file: name a folder for the data.") from error
    except OSError as error:
        raise OpenError(f"The data folder {path} cannot be used: {error.strerror}.") from error
    if "CURRENT" in names:
        return
    if any(_FILES_WITH_DATA.fullmatch(name) for name in names):
        raise _damaged(path, "its file CURRENT is missing")
    strange = sorted(name for name in names if not _FILES_OF_A_NEW_FOLDER.fullmatch(name))
    if strange:
        raise FolderForeign(
            f"{path} holds something else than Tenure's storage ({strange[0]!r}): name an empty or a new folder."
        )


def _open_error(path: Path, reason: str) -> OpenError:
    if "lock hold by" in reason or "While lock file" in reason:
        return FolderLocked(
            f"The storage in {path} is locked: another tenure is running on it. Stop that one or name another folder."
        )
    if "does not match existing comparator" in reason:
        return FolderForeign(f"{path} holds the RocksDB of another program: name an empty or a new folder.")
    if reason.startswith("Corruption") or "No such file" in reason:
        return _damaged(path, _first_line(reason))
    return OpenError(f"The storage in {path} cannot be opened: {_first_line(reason)}")


def _damaged(path: Path, reason: str) -> FolderDamaged:
    return FolderDamaged(
        f"The storage in {path} is damaged: {reason}. Restore it from a backup, or move it away to start empty."
    )


def _first_line(reason: str) -> str:
    return reason.partition("\n")[0].strip().rstrip(".")
