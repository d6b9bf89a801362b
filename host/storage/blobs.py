"""Files named by their content: bundles, components and whatever else is large, immutable and shared.

A blob's name is the SHA-256 of its bytes in hex (its *digest*). So storing twice stores once, and a name can never
come to mean other bytes. A blob appears under its name only when all of it is on the disk: it is written under a
temporary name, synced, renamed, and the folder is synced. What a crash leaves half-written goes at the next start.

    <folder>/<first 2 digits>/<digest>      read-only
    <folder>/tmp-<random>                   being written

Everything here blocks on the disk: call it in a thread, never on the loop. One process owns the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = "tmp-"
_CHUNK_BYTES = 1 << 20


class BlobStore:
    """The blobs in one folder, which is made if it is not there. Methods raise OSError when the disk refuses."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.folder.glob(_TEMPORARY + "*"):
            leftover.unlink(missing_ok=True)

    def put_bytes(self, data: bytes) -> str:
        """Store `data` durably; returns its digest."""
        return self._put(iter((data,)))

    def put_file(self, source: Path | str) -> str:
        """Store a copy of the file `source` durably; returns its digest."""
        with open(source, "rb") as file:
            return self._put(iter(lambda: file.read(_CHUNK_BYTES), b""))

    def path(self, digest: str) -> Path:
        """Where the blob is if it is there. Raises ValueError for what is not a digest, so no name leads elsewhere."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a digest: 64 hexadecimal digits in lower case")
        return self.folder / digest[:2] / digest

    def open(self, digest: str) -> BinaryIO:
        """The blob, for reading. Raises FileNotFoundError if it is not there."""
        return open(self.path(digest), "rb")

    def delete(self, digest: str) -> bool:
        """Remove the blob; True if it was there. Readers that have it open keep reading."""
        path = self.path(digest)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
        return True

    def digests(self) -> set[str]:
        """The digests of all blobs."""
        return {path.name for path in self.folder.glob("??/*") if _DIGEST.fullmatch(path.name)}

    def _put(self, chunks: Iterator[bytes]) -> str:
        sha256 = hashlib.sha256()
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    sha256.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), 0o400)
                os.fsync(file.fileno())
            digest = sha256.hexdigest()
            path = self.path(digest)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync_folder(path.parent)
        _sync_folder(self.folder)
        return digest


def _sync_folder(path: Path) -> None:
    """Make names in a folder durable: a synced file whose name is lost is lost."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
