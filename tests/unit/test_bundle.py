"""Reading bundles from hostile hands: each bad zip has its own sentence, and no zip breaks the reader."""

from __future__ import annotations

import io
import stat
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.model.errors import BundleError, ManifestError, TooLarge, UsageError
from host.model.limits import BUNDLE_LIMITS, BundleLimits, MiB
from host.registry.bundle import read_bundle
from tests.unit.registry_kit import HEAD, WASM_HEAD, bundle, component

GOOD = bundle(HEAD, component())


def read(tmp_path: Path, data: bytes, limits: BundleLimits = BUNDLE_LIMITS) -> tuple[str, bytes]:
    """(manifest text, component)"""
    upload = tmp_path / "upload"
    upload.write_bytes(data)
    into = tmp_path / "into"
    into.mkdir()
    got = read_bundle(upload, into, limits)
    assert got.component.parent == into
    assert got.component_bytes == got.component.stat().st_size
    return got.manifest_text, got.component.read_bytes()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a duplicate name
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


MANIFEST = ("tenure.toml", HEAD.encode())
WASM = ("component.wasm", component())


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted(data: bytes) -> bytes:
    """The same zip with the flag that says its entries are encrypted."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(signature)
        while at >= 0:
            changed[at + offset] |= 1
            at = changed.find(signature, at + 4)
    return bytes(changed)


def with_zip64_locator(data: bytes) -> bytes:
    end = data.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, 1 << 40, 0)
    return data[:end] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1) + data[end:]


def test_a_good_bundle_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == (HEAD, component())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_originals_manifest_name_and_a_byte_order_mark_are_read(tmp_path: Path, method: int) -> None:
    data = zipped(("telnyx.toml", b"\xef\xbb\xbf" + HEAD.encode()), WASM, method=method)
    assert read(tmp_path, data)[0] == HEAD


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a zip"),
        (b"PK", "not a zip"),
        (b"hello" * 1000, "not a zip"),
        (zipped(), "no manifest"),
        (zipped(WASM), "no manifest"),
        (zipped(MANIFEST), "no component.wasm"),
        (zipped(MANIFEST, ("telnyx.toml", b""), WASM), "both tenure.toml and telnyx.toml"),
        (zipped(MANIFEST, WASM, ("README.md", b"x")), "'README.md' does not belong"),
        (zipped(MANIFEST, WASM, ("sub/", b"")), "'sub/' does not belong"),
        (zipped(("sub/tenure.toml", b""), WASM), "'sub/tenure.toml' does not belong"),
        (zipped(MANIFEST, WASM, ("../../etc/passwd", b"x")), "points outside"),
        (zipped(MANIFEST, WASM, ("a\\..\\b", b"x")), "points outside"),
        (zipped(MANIFEST, WASM, ("/etc/passwd", b"x")), "absolute path"),
        (zipped(MANIFEST, WASM, ("C:\\x", b"x")), "absolute path"),
        (zipped((link("tenure.toml"), b"/etc/passwd"), WASM), "symbolic link"),
        (zipped(MANIFEST, MANIFEST, WASM), "there twice"),
        (encrypted(zipped(MANIFEST, WASM)), "encrypted"),
        (zipped(MANIFEST, WASM, method=zipfile.ZIP_LZMA), "use deflate"),
        (with_zip64_locator(GOOD), "zip64"),
        (zipped(*((f"f{n}", b"") for n in range(1001))), "more than 1,000 entries"),
        (zipped(MANIFEST, ("component.wasm", b"")), "is empty"),
        (zipped(MANIFEST, ("component.wasm", b"\0asm\x01\0\0\0")), "core WebAssembly module"),
        (zipped(MANIFEST, ("component.wasm", b"\0asm\x0d\0\x02\0")), "not a WebAssembly component"),
        (zipped(MANIFEST, ("component.wasm", b"#!/bin/sh")), "not a WebAssembly component"),
        (GOOD[5:], "damaged"),
        (zipped(MANIFEST, WASM, method=zipfile.ZIP_STORED).replace(b"handler", b"hamster", 1), "damaged"),
    ],
)
def test_a_bad_bundle_has_its_own_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read(tmp_path, data)
    assert words in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_a_name_that_is_cut_at_a_zero_byte_is_not_believed(tmp_path: Path) -> None:
    data = zipped(("tenure.toml#sh", HEAD.encode()), WASM).replace(b"tenure.toml#sh", b"tenure.toml\0sh")
    with pytest.raises(BundleError, match="does not belong"):
        read(tmp_path, data)


def test_all_bad_entries_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        read(tmp_path, zipped(MANIFEST, WASM, ("/a", b""), ("../b", b""), ("c", b"")))
    assert len(caught.value.details) == 3


def test_a_manifest_that_is_not_text_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        read(tmp_path, zipped(("tenure.toml", b"\xff\xfe"), WASM))


def test_the_edge_of_the_compressed_size(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    read(tmp_path / "a", GOOD, replace(BUNDLE_LIMITS, compressed_bytes_max=len(GOOD)))
    with pytest.raises(TooLarge, match="larger than"):
        read(tmp_path, GOOD, replace(BUNDLE_LIMITS, compressed_bytes_max=len(GOOD) - 1))


def test_the_edge_of_the_unpacked_size(tmp_path: Path) -> None:
    size = len(HEAD) + len(component())
    (tmp_path / "a").mkdir()
    read(tmp_path / "a", GOOD, replace(BUNDLE_LIMITS, unpacked_bytes_max=size))
    with pytest.raises(TooLarge, match="unpacks to more"):
        read(tmp_path, GOOD, replace(BUNDLE_LIMITS, unpacked_bytes_max=size - 1))


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    bomb = zipped(MANIFEST, ("component.wasm", WASM_HEAD + bytes(20 * MiB)))
    with pytest.raises(TooLarge, match="zip bomb"):
        read(tmp_path, bomb)
    assert list((tmp_path / "into").iterdir()) == []


def test_an_entry_that_inflates_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(MANIFEST, ("component.wasm", WASM_HEAD + bytes(4 * MiB))))
    for signature, offset, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        at = data.find(signature)
        while at >= 0:
            if data[at + name_at :].startswith(b"component.wasm"):
                data[at + offset : at + offset + 4] = struct.pack("<L", 100)
            at = data.find(signature, at + 4)
    with pytest.raises(BundleError, match="damaged"):
        read(tmp_path, bytes(data))
    assert sum(path.stat().st_size for path in (tmp_path / "into").iterdir()) <= 100


def test_the_component_is_never_whole_in_memory(tmp_path: Path) -> None:
    data = zipped(MANIFEST, ("component.wasm", WASM_HEAD + bytes(32 * MiB)), method=zipfile.ZIP_STORED)
    upload, into = tmp_path / "upload", tmp_path / "into"
    upload.write_bytes(data)
    into.mkdir()
    tracemalloc.start()
    try:
        read_bundle(upload, into)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MiB


def test_a_huge_directory_is_refused_unread(tmp_path: Path) -> None:
    data = zipped(*((f"{n:0200}", b"") for n in range(3000)))
    data = data[:-14] + struct.pack("<2H", 2, 2) + data[-10:]  # the end record claims two entries
    with pytest.raises(BundleError, match="entries"):
        read(tmp_path, data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(GOOD)),
    st.booleans(),
)
def test_no_damage_raises_anything_but_a_usage_error(changes: list[tuple[int, int]], cut: int, truncate: bool) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    with tempfile.TemporaryDirectory() as folder:
        try:
            read(Path(folder), bytes(data[:cut] if truncate else data))
        except UsageError as error:
            refused = error
        else:
            return
    assert refused.details
