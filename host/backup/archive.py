"""A backup as it lies on a disk: a folder of plain files, one of which, written last, says what there has to be.

    ID/layout.json                 as in a data folder
    ID/control/...                 the registry's engine
    ID/shards/000/...              one engine for each shard
    ID/blobs/xx/DIGEST             the components that versions are made of
    ID/manifest.json               {"tenure_backup": 1, "id", "created_at", "version", "paused_ms",
                                   "files": {name: [bytes, sha256]}, "sha256"}

The manifest's own `sha256` is of the manifest without it. While a backup is being made its folder is `ID.partial` and
has no manifest: one that was cut short is never taken for a whole one. Nothing in it is written again once it has its
name, and copies of it, on whatever disk, are as good as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 256 << 20
CHUNK_BYTES = 1 << 20

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9]{3}")
NAME = re.compile(
    r"layout\.json|(control|shards(-[1-9][0-9]*)?/[0-9]{3})/[A-Za-z0-9][\w.-]*|blobs/[0-9a-f]{2}/[0-9a-f]{64}"
)
"""What a file of a backup may be called."""

Told = Callable[[int], None]
"""Hears how many bytes were done since it last heard."""


class BackupError(Exception):
    """What is wrong with a backup or cannot be done with it, for the operator."""


@dataclass(frozen=True)
class Manifest:
    """`files`: (bytes, SHA-256 in hex) by name. `created_at` is ISO 8601 in UTC, `version` Tenure's; `paused_ms` how
    long guests waited for it.
    """

    id: str
    created_at: str
    version: str
    paused_ms: float
    files: Mapping[str, tuple[int, str]]

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.files.values())

    def encode(self) -> bytes:
        fields = {
            "tenure_backup": FORMAT,
            "id": self.id,
            "created_at": self.created_at,
            "version": self.version,
            "paused_ms": self.paused_ms,
            "files": {name: list(self.files[name]) for name in sorted(self.files)},
        }
        return json.dumps({**fields, "sha256": _checksum(fields)}, indent=1).encode() + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError when the folder is no backup, a part of one, or one whose manifest is damaged."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX)
    except FileNotFoundError:
        what = "is no whole backup: it has no manifest.json" if folder.is_dir() else "is not there"
        raise BackupError(f"{folder} {what}.") from None
    except OSError as error:
        raise BackupError(f"{folder} cannot be read: {error.strerror}.") from None
    return decode_manifest(data, str(folder))


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Raises BackupError for what `Manifest.encode` did not write; `where` is how it names the backup."""
    try:
        fields = json.loads(data)
        version = fields["tenure_backup"]
        if version > FORMAT:
            raise BackupError(
                f"{where} was made by a newer tenure (format {version}; this one knows up to {FORMAT}). "
                "Restore it with that version or a later one."
            )
        checksum = fields.pop("sha256")
        files = {name: (int(size), str(digest)) for name, (size, digest) in fields["files"].items()}
        manifest = Manifest(fields["id"], fields["created_at"], fields["version"], fields["paused_ms"], files)
        whole = checksum == _checksum(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BackupError(f"{where} has a manifest that cannot be read: it is damaged, or no backup.") from None
    if not whole:
        raise BackupError(f"{where} has a manifest that was changed after it was written. Take another backup.")
    if strange := [name for name in files if not NAME.fullmatch(name)]:
        raise BackupError(f"{where} names a file that no backup has: {strange[0][:80]!r}.")
    return manifest


def verify(folder: Path, told: Told) -> Manifest:
    """Read all of a backup. Raises BackupError, naming the first thing that is wrong with it, OSError."""
    manifest = read_manifest(folder)
    check_names(folder, manifest)
    for name, expected in manifest.files.items():
        with open_file(folder, name) as file:
            if digest_of(file, told) != expected:
                raise damaged(folder, name)
    return manifest


def check_names(folder: Path, manifest: Manifest) -> None:
    """Raises BackupError when there is another number of files than the manifest names."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if missing := sorted(set(manifest.files) - there):
        raise BackupError(f"{folder} is not whole: {missing[0]} is missing. Take another backup.")
    if strange := sorted(there - set(manifest.files) - {MANIFEST}):
        raise BackupError(f"{folder} has a file that does not belong to it: {strange[0][:80]!r}.")


def open_file(folder: Path, name: str) -> BinaryIO:
    """Raises BackupError when it is missing, OSError."""
    try:
        return (folder / name).open("rb")
    except FileNotFoundError:
        raise BackupError(f"{folder} is not whole: {name} is missing. Take another backup.") from None


def digest_of(file: BinaryIO, told: Told) -> tuple[int, str]:
    """(bytes, SHA-256) of what is left to read."""
    size, sha256 = 0, hashlib.sha256()
    while data := file.read(CHUNK_BYTES):
        size += len(data)
        sha256.update(data)
        told(len(data))
    return size, sha256.hexdigest()


def damaged(folder: Path, name: str) -> BackupError:
    return BackupError(f"{folder} is damaged: {name} is not what was backed up. Take another backup.")


def backups_in(folder: Path) -> list[Manifest]:
    """Those in a folder that have a name and a readable manifest, the oldest first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if ID.fullmatch(path.name):
            try:
                found.append(read_manifest(path))
            except BackupError:
                continue
    return sorted(found, key=lambda one: one.id)


def _checksum(fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
