"""Memory of a process tree, from the kernel's own account of it.

PSS shares a page among those that map it; USS counts only what would be freed if the processes ended.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import tree


@dataclass(frozen=True)
class Memory:
    """In MiB."""

    pss_mib: float
    uss_mib: float
    processes: int


def memory_of(pid: int) -> Memory:
    """Memory of `pid` and everything below it."""
    pss = uss = count = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = _rollup(each)
            pss += fields["Pss"]
            uss += fields["Private_Clean"] + fields["Private_Dirty"]
            count += 1
    return Memory(pss / 1024, uss / 1024, count)


def _rollup(pid: int) -> dict[str, int]:
    """Fields of smaps_rollup, in KiB."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        fields[name.rstrip(":")] = int(value)
    return fields
