"""A small disk for a host's data: a file system in a file, or in memory, mounted for as long as a run takes.

Mounting needs root. Without it there is no small disk, and the rounds that need one are left out, visibly.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

SIZE_MIB = 640
_WAYS = ("ext4 in a file", "tmpfs")


class NoSmallDisk(Exception):
    """The text says why."""


class SmallDisk:
    """Mounted at `path`. `kind` says what it is. Raises NoSmallDisk."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            raise NoSmallDisk("mounting a small disk needs root")
        self.path = folder / "disk"
        self.path.mkdir()
        self._image = folder / "disk.img"
        self._ballast = self.path / "ballast"
        problems = []
        for way in _WAYS:
            try:
                self._mount(way)
            except (OSError, subprocess.CalledProcessError) as error:
                problems.append(f"{way}: {getattr(error, 'stderr', None) or error}".strip())
                continue
            self.kind = way
            return
        raise NoSmallDisk("; ".join(problems))

    def _mount(self, way: str) -> None:
        if way == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(self.path))
            return
        with self._image.open("wb") as image:
            image.truncate(SIZE_MIB << 20)
        _run("mkfs.ext4", "-q", "-m", "0", "-F", str(self._image))
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def fill(self) -> int:
        """Leave no byte free. Returns how many were."""
        written = 0
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                block = bytes(size)
                try:
                    while True:
                        written += file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        return written

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount. What still uses it, such as a process that is being looked at, loses it when it lets go."""
        _run("umount", "--lazy", str(self.path))
        self._image.unlink(missing_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
