"""Faults that a running host meets at its disk, through a library that is preloaded into it (`faults.c`).

The host's program is the one that is shipped. `attached` says whether the library reached its processes: a host that
keeps it out makes the kinds of rounds that need it impossible, and they say so.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
SLOTS = 8192
_HEAD = struct.Struct("=IiiIII")
_SLOT = struct.Struct("=QQ")


class Faults:
    """Lives in `folder`. Raises RuntimeError when there is no C compiler."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise RuntimeError("it needs a C compiler: install gcc or clang")
        self._library = folder / "faults.so"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)]
        subprocess.run(command, check=True)
        self._file = folder / "faults"
        self._file.write_bytes(bytes(_HEAD.size + SLOTS * _SLOT.size))
        with self._file.open("r+b") as file:
            self._table = mmap.mmap(file.fileno(), 0)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "TENURE_FAULTS": str(self._file)}

    @property
    def attached(self) -> int:
        """Programs that have loaded the library so far."""
        return int(_HEAD.unpack_from(self._table)[0])

    def fail_a_sync(self, pid: int, after: int) -> None:
        """Let the sync of a write-ahead log fail in `pid`, after so many that succeed."""
        self._set(left=after)
        self._set(left=after, victim=pid)

    def slow_syncs(self, seconds: float) -> None:
        """Let every sync of a write-ahead log take so much longer."""
        self._set(slow_us=int(seconds * 1e6))

    def none(self) -> None:
        """From now on all is well."""
        self._set()

    @property
    def failed(self) -> bool:
        """The sync that was to fail did."""
        return bool(_HEAD.unpack_from(self._table)[3])

    def synced_bytes(self, log: Path) -> int:
        """How much of a write-ahead log, from its beginning, a power cut may not take."""
        path = os.path.realpath(log).encode()
        name = _fnv(path)
        for number in range(SLOTS):
            owner, count = _SLOT.unpack_from(self._table, _HEAD.size + (name + number) % SLOTS * _SLOT.size)
            if owner == name:
                return int(count)
            if not owner:
                break
        return 0

    def _set(self, *, victim: int = 0, left: int = 0, slow_us: int = 0) -> None:
        _HEAD.pack_into(self._table, 0, self.attached, victim, left, 0, slow_us, 0)


def _fnv(text: bytes) -> int:
    """FNV-1a of 64 bits, as in faults.c."""
    value = 0xCBF29CE484222325
    for byte in text:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
