"""What a storage engine must do.

`storage.rocks` and `storage.memory` implement it; `tests/contract/test_engine.py` holds both to it. Keys and values are
bytes, keys are non-empty and ordered as unsigned bytes. An engine may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DeleteRange:
    """To delete every key with start <= key < end, however many there are. Without a key in it, it does nothing.

    An engine may look through its ranges at every read, so it is for many keys: a few are deleted one by one.
    """

    start: bytes
    end: bytes


Write = tuple[bytes, bytes | None] | DeleteRange
"""(key, value) to put, (key, None) to delete, or a range to delete."""


class Scanned(Protocol):
    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Pairs with start <= key < end, ascending, or descending from `end` if `reverse`. Raises OSError."""
        ...


class Engine(Scanned, Protocol):
    def get(self, key: bytes) -> bytes | None: ...

    def snapshot(self) -> Scanned:
        """All that is written by now, and nothing that is written later; for one thread at a time. It has to be dropped
        before `close`, which otherwise lets go of the folder only when it is.
        """
        ...

    def write(self, batch: Iterable[Write]) -> None:
        """Apply all of `batch`, in order, or nothing; seen by reads at once, not yet durable. Raises OSError."""
        ...

    def sync(self) -> None:
        """Make all writes that returned before this call durable. Blocks, without the GIL. Raises OSError."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent; any other call raises OSError from then on."""
        ...


class OpenError(OSError):
    """A data folder that cannot be opened. The message is for the operator: it names the folder and what to do."""


class FolderLocked(OpenError):
    """Another process has it open."""


class FolderForeign(OpenError):
    """It holds something else, or what a newer version wrote."""


class FolderDamaged(OpenError):
    """It was ours, but something in it is missing or broken."""
