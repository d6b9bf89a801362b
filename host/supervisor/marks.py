"""Which versions' guests run in each worker at this moment, in memory that outlives it.

A worker writes the mark of a version (`model.version.mark_of`) before it polls a guest of it and 0 when none runs: one
store to a page of a file that it maps, about 60 ns. Nothing need reach the disk: when the process dies the page is
still there for the control process to read.

Shape: for each slot two u64 in the machine's order: the loop's, and that of the background thread.
"""

from __future__ import annotations

import mmap
from pathlib import Path

MARKS_FILE = "marks"
PER_SLOT = 2
_BYTES = 8


def open_marks(run: Path, slots: int) -> memoryview:
    """All marks of a host, as one view of integers; the file is made, or grows, when need be. Raises OSError."""
    path = run / MARKS_FILE
    size = max(slots * PER_SLOT * _BYTES, mmap.PAGESIZE)
    with path.open("r+b" if path.exists() else "w+b") as file:
        if file.seek(0, 2) < size:
            file.truncate(size)
        return memoryview(mmap.mmap(file.fileno(), size)).cast("Q")


def of_slot(marks: memoryview, slot: int) -> memoryview:
    return marks[slot * PER_SLOT : (slot + 1) * PER_SLOT]
