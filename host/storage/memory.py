"""An engine that keeps everything in memory: the contract of `ports.Engine` without a disk, for tests.

What is written can be read at once, but only `sync` moves it to where `crash` does not reach. So a test can show what
durability means: write, crash, and see what is left.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable

from host.storage.ports import DeleteRange, Write


class MemoryEngine:
    """Ordered keys in a dict and a sorted list. Inserting a new key costs O(number of keys): small data only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._unsynced: list[tuple[bytes, bytes | None]] = []
        self._durable: dict[bytes, bytes] = {}
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            self._check_open()
            return self._values.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        with self._lock:
            self._check_open()
            keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]
            if reverse:
                keys.reverse()
            return [(key, self._values[key]) for key in keys[:limit]]

    def snapshot(self) -> MemoryEngine:
        with self._lock:
            self._check_open()
            copy = MemoryEngine()
            copy._values, copy._keys = dict(self._values), list(self._keys)
            return copy

    def write(self, batch: Iterable[Write]) -> None:
        writes = list(batch)  # all of it, before anything is applied: the iterable may raise half-way
        with self._lock:
            self._check_open()
            for write in writes:
                if isinstance(write, DeleteRange):
                    low, high = bisect_left(self._keys, write.start), bisect_left(self._keys, write.end)
                    gone = self._keys[low:high]
                    del self._keys[low : low + len(gone)]
                    for key in gone:
                        del self._values[key]
                    self._unsynced += ((key, None) for key in gone)
                    continue
                key, value = write
                if value is not None:
                    if key not in self._values:
                        insort(self._keys, key)
                    self._values[key] = value
                elif self._values.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
                self._unsynced.append((key, value))

    def sync(self) -> None:
        with self._lock:
            self._check_open()
            for key, value in self._unsynced:
                if value is None:
                    self._durable.pop(key, None)
                else:
                    self._durable[key] = value
            self._unsynced.clear()

    def crash(self) -> None:
        """Forget what was not synced, and be open: what a power cut and a restart leave."""
        with self._lock:
            self._values = dict(self._durable)
            self._keys = sorted(self._values)
            self._unsynced.clear()
            self._closed = False

    def close(self) -> None:
        """Everything written is kept, as on a disk. Idempotent; any other call raises OSError from now on."""
        if not self._closed:
            self.sync()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("the storage engine is closed")
