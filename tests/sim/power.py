"""An engine whose power fails when a test says so: what is left is what a disk may leave.

A disk keeps what was synced, and of what was written after that any number of whole batches from the first on. So a
cut has two questions that a test answers: at which moment it comes, and how many batches get through unsynced.
Everything happens on the loop and at once, so a run with the same choices is the same run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from host.storage.memory import MemoryEngine
from host.storage.ports import Scanned, Write

OFF = "the power is off"


class PowerEngine:
    """`storage.ports.Engine` over memory.

    `cut_at_sync`: at the next sync the power fails, before the data is safe or after it is (and nobody learns of it).
    `write_error`, `sync_error`: what the disk says while the power is on.
    """

    def __init__(self) -> None:
        self.memory = MemoryEngine()
        self.on = True
        self.cut_at_sync: Literal["before", "after"] | None = None
        self.write_error: OSError | None = None
        self.sync_error: OSError | None = None
        self.unsynced: list[list[Write]] = []

    def get(self, key: bytes) -> bytes | None:
        self._check()
        return self.memory.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        self._check()
        return self.memory.scan(start, end, reverse=reverse, limit=limit)

    def snapshot(self) -> Scanned:
        self._check()
        return self.memory.snapshot()

    def write(self, batch: Iterable[Write]) -> None:
        self._check()
        if self.write_error is not None:
            raise self.write_error
        writes = list(batch)
        self.memory.write(writes)
        self.unsynced.append(writes)

    def sync(self) -> None:
        self._check()
        if self.sync_error is not None:
            raise self.sync_error
        if self.cut_at_sync == "before":
            self.cut()
        self._check()
        self.memory.sync()
        self.unsynced.clear()
        if self.cut_at_sync == "after":
            self.cut()
        self._check()

    def close(self) -> None:
        self.memory.close()

    def cut(self) -> None:
        """The power fails: everything raises until `restore`."""
        self.on = False

    def restore(self, kept: int = 0) -> None:
        """The power is back, the disk is well, and of what was not synced the first `kept` batches are there."""
        self.memory.crash()
        for batch in self.unsynced[:kept]:
            self.memory.write(batch)
        self.memory.sync()
        self.unsynced.clear()
        self.cut_at_sync = self.write_error = self.sync_error = None
        self.on = True

    def _check(self) -> None:
        if not self.on:
            raise OSError(OFF)
