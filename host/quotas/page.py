"""What a host's processes use of their tenants' quotas at this moment, in memory that all of them map.

A quota holds for a host, not for a worker. Sharing it out among workers needs messages, and is wrong for as long as the
demand moves from one to the other; so all workers count in the same place. A rate is one number, the time until which
it is used up (as in GCRA): reading, adding and writing it take a microsecond, without a lock. Two workers that do so in
the same microsecond count once what both let in. What is stored is a number for each worker, which it alone writes.

The control process gives rows to tenants and functions (`claim`) before anything of them serves; they keep them, so a
row's number never changes while a worker knows it. The file outlives every process. Times are of the monotonic clock,
which begins anew when the machine does: what lies too far ahead is no longer believed (`bucket`).

Shape: a header (u64 rows, u64 slots); for each row a key of 16 bytes; for each row RATES doubles; for each row and
slot an i64. Numbers are in the machine's order.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

ROWS = 16_384
"""Tenants and functions that a host has at most."""
KEY_BYTES = 16
REQUESTS, CPU, OUTBOUND, RATES = 0, 1, 2, 4
"""The rates of a row; one place is left for another."""
_HEAD_BYTES, _NUMBER_BYTES = 16, 8
_FREE = bytes(KEY_BYTES)
PREFIX = "quotas-"


def tenant_key(tenant: str) -> bytes:
    return blake2b(b"tenant " + tenant.encode(), digest_size=KEY_BYTES).digest()


def function_key(function_id: str) -> bytes:
    return blake2b(b"function " + function_id.encode(), digest_size=KEY_BYTES).digest()


class Page:
    """`rates[row * RATES + rate]`: monotonic seconds. `stored[row * slots + slot]`: bytes."""

    def __init__(self, memory: mmap.mmap, slots: int, rows: int) -> None:
        self.slots = slots
        self._rows = rows
        self._memory = memory
        keys_end = _HEAD_BYTES + rows * KEY_BYTES
        rates_end = keys_end + rows * RATES * _NUMBER_BYTES
        view = memoryview(memory)
        self.rates = view[keys_end:rates_end].cast("d")
        self.stored = view[rates_end : rates_end + rows * slots * _NUMBER_BYTES].cast("q")
        self._keys_end = keys_end
        view[:_HEAD_BYTES].cast("Q")[0] = rows
        view[:_HEAD_BYTES].cast("Q")[1] = slots

    def find(self, key: bytes) -> int | None:
        """The row of a tenant or function."""
        at = _HEAD_BYTES - 1
        while (at := self._memory.find(key, at + 1, self._keys_end)) >= 0:
            if (at - _HEAD_BYTES) % KEY_BYTES == 0:
                return (at - _HEAD_BYTES) // KEY_BYTES
        return None

    def claim(self, key: bytes) -> int | None:
        """The row of a tenant or function, one that is free if it had none; None when there is none left.

        For one process only: the control process, or that of a page which nobody shares.
        """
        row = self.find(key)
        if row is None and (row := self.find(_FREE)) is not None:
            at = _HEAD_BYTES + row * KEY_BYTES
            self._clear(row)
            self._memory[at : at + KEY_BYTES] = key
        return row

    def keep(self, keys: Iterable[bytes]) -> None:
        """Free all rows but these. Only while no worker runs that may know a row."""
        wanted = set(keys)
        for row in range(self._rows):
            at = _HEAD_BYTES + row * KEY_BYTES
            if (key := self._memory[at : at + KEY_BYTES]) != _FREE and key not in wanted:
                self._memory[at : at + KEY_BYTES] = _FREE

    def stored_of(self, row: int) -> int:
        """Bytes, summed over all workers."""
        return sum(self.stored[row * self.slots : (row + 1) * self.slots])

    def _clear(self, row: int) -> None:
        for rate in range(RATES):
            self.rates[row * RATES + rate] = 0.0
        for slot in range(self.slots):
            self.stored[row * self.slots + slot] = 0


def _bytes_of(slots: int, rows: int) -> int:
    return _HEAD_BYTES + rows * (KEY_BYTES + RATES * _NUMBER_BYTES + slots * _NUMBER_BYTES)


def open_page(run: Path, slots: int) -> Page:
    """The page of the host whose run folder this is; made when it is not there. Raises OSError."""
    path = run / f"{PREFIX}{slots}"
    size = _bytes_of(slots, ROWS)
    with path.open("r+b" if path.exists() else "w+b") as file:
        if file.seek(0, 2) != size:
            file.truncate(0)
            file.truncate(size)
        return Page(mmap.mmap(file.fileno(), size), slots, ROWS)


def forget_others(run: Path, slots: int) -> None:
    """Remove the pages of hosts that had another number of workers. Raises OSError."""
    for path in run.glob(f"{PREFIX}*"):
        if path.name != f"{PREFIX}{slots}":
            path.unlink(missing_ok=True)


def private_page(rows: int = ROWS) -> Page:
    """A page of one process."""
    return Page(mmap.mmap(-1, _bytes_of(1, rows)), 1, rows)
