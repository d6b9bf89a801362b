"""Reading an uploaded bundle: a zip of exactly the manifest and `component.wasm`, from somebody who may be hostile.

The order of the checks is the defence. The size of the file and of its directory are looked at before the zip library
reads the directory into memory; every entry's name, kind and declared size before anything is inflated; and what
comes out is counted while it is inflated, because a declared size is only a claim. The component goes to a file in
pieces and is never whole in memory. No name from the zip is ever used as a path.

All mistakes in the list of entries are reported at once. Everything here blocks: call it in a thread.
Not here: what the manifest means (`model.manifest`) and whether the component is one of ours (`sandbox.component`).
"""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from host.model.errors import BundleError, ManifestError, TooLarge
from host.model.limits import BUNDLE_LIMITS, BundleLimits, MiB
from host.model.manifest import MANIFEST_BYTES_MAX

MANIFEST_NAMES: Final = ("tenure.toml", "telnyx.toml")
COMPONENT_NAME: Final = "component.wasm"

RATIO_MAX: Final = 200
"""Inflated bytes for each compressed byte of one entry: far more than code yields, far less than a bomb needs."""
RATIO_BYTES_MIN: Final = 1 * MiB
"""Entries that inflate to less than this may have any ratio."""

_CHUNK: Final = 256 << 10
_END_RECORD: Final = struct.Struct("<4s4H2LH")  # signature, 2 disks, entries here and in all, directory size and offset
_END_SIGNATURE: Final = b"PK\x05\x06"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_COMMENT_BYTES_MAX: Final = 0xFFFF
_DIRECTORY_BYTES_PER_FILE: Final = 512

_WASM: Final = b"\0asm"
_COMPONENT_LAYER: Final = b"\x0d\x00\x01\x00"
_MODULE_LAYER: Final = b"\x01\x00\x00\x00"

_NOT_A_ZIP = "The bundle is not a zip file. Run `tenure build` to make one."
_DAMAGED = "The bundle is a damaged zip file. Build it again and upload it again."
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was in it: the manifest's text, the component as a file, and that file's size in bytes."""

    manifest_text: str
    component: Path
    component_bytes: int


def read_bundle(upload: Path, into: Path, limits: BundleLimits = BUNDLE_LIMITS) -> Bundle:
    """Unpack `upload`, with its component at `into`/component.wasm (`into` exists and is empty).

    Raises TooLarge (413), BundleError or ManifestError (422); the host's own OSError passes through.
    """
    size = upload.stat().st_size
    if size > limits.compressed_bytes_max:
        raise too_large(limits)
    with upload.open("rb") as file:
        _check_directory(file, size, limits)
        with _reading():
            archive = zipfile.ZipFile(file)
        with archive:
            manifest, component = _choose(archive.infolist(), limits)
            text = _manifest_text(archive, manifest)
            target = into / COMPONENT_NAME
            with target.open("xb") as out:
                _inflate(archive, component, out, limits.unpacked_bytes_max)
    _check_component(target)
    return Bundle(text, target, component.file_size)


def too_large(limits: BundleLimits) -> TooLarge:
    return TooLarge(
        f"The bundle is larger than {limits.compressed_bytes_max / MiB:g} MiB, which is the most a host takes. "
        "Leave out what the function does not need."
    )


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever the zip library makes of a damaged file becomes one BundleError."""
    try:
        yield
    except _DAMAGE:
        raise BundleError(_DAMAGED) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # that is an offset before the file's start; others are the host's own trouble
            raise
        raise BundleError(_DAMAGED) from None


def _check_directory(file: IO[bytes], size: int, limits: BundleLimits) -> None:
    """Bound the zip's directory by its end record, found as the zip library finds it, before that reads it whole."""
    tail_bytes = min(size, _END_RECORD.size + _COMMENT_BYTES_MAX + _ZIP64_LOCATOR_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = len(tail) - _END_RECORD.size
    if at < 0 or not (tail.startswith(_END_SIGNATURE, at) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END_RECORD.size + len(_END_SIGNATURE))
    if at < 0:
        raise BundleError(_NOT_A_ZIP)
    _, _, _, _, entries, directory_bytes, _, _ = _END_RECORD.unpack_from(tail, at)
    if tail.startswith(_ZIP64_LOCATOR, max(at - _ZIP64_LOCATOR_BYTES, 0)):
        raise BundleError("The bundle is a zip64 file. Write it as an ordinary zip; `tenure build` does.")
    if entries > limits.files_max or directory_bytes > limits.files_max * _DIRECTORY_BYTES_PER_FILE:
        raise BundleError(f"The bundle has more than {limits.files_max:,} entries; it holds exactly two files.")


def _choose(entries: list[zipfile.ZipInfo], limits: BundleLimits) -> tuple[zipfile.ZipInfo, zipfile.ZipInfo]:
    """(manifest, component), when every entry is as it must be."""
    if len(entries) > limits.files_max:
        raise BundleError(f"The bundle has more than {limits.files_max:,} entries; it holds exactly two files.")
    by_name: dict[str, zipfile.ZipInfo] = {}
    mistakes = []
    for entry in entries:
        mistake = _entry_mistake(entry, by_name)
        if mistake:
            mistakes.append(mistake)
        else:
            by_name[entry.orig_filename] = entry
    manifests = [by_name[name] for name in MANIFEST_NAMES if name in by_name]
    if len(manifests) > 1:
        mistakes.append("The bundle holds both tenure.toml and telnyx.toml; keep one of them.")
    if not mistakes and not manifests:
        mistakes.append("The bundle has no manifest; put tenure.toml at its top level.")
    if not mistakes and COMPONENT_NAME not in by_name:
        mistakes.append("The bundle has no component.wasm at its top level; run `tenure build`.")
    if mistakes:
        raise BundleError(mistakes[0], details=mistakes[:20])
    _check_sizes((manifests[0], by_name[COMPONENT_NAME]), limits)
    return manifests[0], by_name[COMPONENT_NAME]


def _entry_mistake(entry: zipfile.ZipInfo, seen: dict[str, zipfile.ZipInfo]) -> str | None:
    """Why this entry cannot be in a bundle, or None. `orig_filename` is the name as it was written in the file."""
    name = entry.orig_filename
    label = repr(name if len(name) <= 80 else name[:77] + "...")
    parts = name.replace("\\", "/").split("/")
    if ".." in parts:
        return f"The entry {label} points outside of the bundle; entries have plain names."
    if parts[0] == "" or parts[0].endswith(":"):
        return f"The entry {label} is an absolute path; entries have plain names."
    if stat.S_ISLNK(entry.external_attr >> 16):
        return f"The entry {label} is a symbolic link; put the file itself into the bundle."
    if name not in (*MANIFEST_NAMES, COMPONENT_NAME):
        return f"The entry {label} does not belong in a bundle; it holds exactly tenure.toml and component.wasm."
    if name in seen:
        return f"The entry {label} is there twice; keep one of them."
    if entry.flag_bits & 0x1:
        return f"The entry {label} is encrypted; write the zip without a password."
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"The entry {label} is compressed in a way that is not read here; use deflate."
    return None


def _check_sizes(entries: tuple[zipfile.ZipInfo, ...], limits: BundleLimits) -> None:
    """Refuse what the zip itself says is too much."""
    if sum(entry.file_size for entry in entries) > limits.unpacked_bytes_max:
        raise _unpacked_too_large(limits.unpacked_bytes_max)
    for entry in entries:
        if entry.file_size > max(RATIO_BYTES_MIN, entry.compress_size * RATIO_MAX):
            raise TooLarge(
                f"The entry {entry.orig_filename} inflates to more than {RATIO_MAX} times its size, "
                "as only a zip bomb does. Build the bundle again."
            )


def _unpacked_too_large(bytes_max: int) -> TooLarge:
    return TooLarge(
        f"The bundle unpacks to more than {bytes_max / MiB:g} MiB. Leave out what the function does not need."
    )


def _manifest_text(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    if entry.file_size > MANIFEST_BYTES_MAX:
        raise ManifestError(
            f"{entry.orig_filename} has {entry.file_size:,} bytes; at most {MANIFEST_BYTES_MAX:,} are read."
        )
    with _reading(), archive.open(entry) as source:
        data = source.read(MANIFEST_BYTES_MAX + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"{entry.orig_filename} is not UTF-8 text; save it as UTF-8.") from None


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: IO[bytes], bytes_max: int) -> None:
    """Write the entry to `out`, counting what really comes out of it."""
    written = 0
    with _reading(), archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > bytes_max:
                raise _unpacked_too_large(bytes_max)
            out.write(chunk)
    if written != entry.file_size:
        raise BundleError(_DAMAGED)


def _check_component(path: Path) -> None:
    """Look at the first eight bytes: is it wasm, and a component?"""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise BundleError("component.wasm is empty. Run `tenure build` again.")
    if head == _WASM + _MODULE_LAYER:
        raise BundleError(
            "component.wasm is a core WebAssembly module, not a component. Build it with `tenure build`, "
            "or wrap it for the world tenure:edge/function."
        )
    if head != _WASM + _COMPONENT_LAYER:
        raise BundleError("component.wasm is not a WebAssembly component. Build it with `tenure build`.")
