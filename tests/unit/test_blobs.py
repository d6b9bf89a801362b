"""Blobs are named by their content, whole or absent; and a data folder knows which layout it holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from host.storage import keys
from host.storage.blobs import BlobStore
from host.storage.memory import MemoryEngine
from host.storage.ports import FolderDamaged, FolderForeign, FolderLocked
from host.storage.upgrade import check_format, open_engine


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_a_blob_is_found_under_the_digest_of_its_bytes(store: BlobStore, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "source").write_bytes(data)
    digest = store.put_file(tmp_path / "source")
    assert digest == hashlib.sha256(data).hexdigest()
    assert store.path(digest).read_bytes() == data
    with store.open(digest) as file:
        assert file.read() == data
    assert (tmp_path / "source").read_bytes() == data


def test_storing_twice_stores_once_and_an_empty_blob_is_a_blob(store: BlobStore) -> None:
    first, again, empty = store.put_bytes(b"same"), store.put_bytes(b"same"), store.put_bytes(b"")
    assert first == again
    assert store.digests() == {first, empty}
    assert store.path(empty).read_bytes() == b""


def test_a_deleted_blob_is_gone_and_open_readers_keep_it(store: BlobStore) -> None:
    digest = store.put_bytes(b"x")
    with store.open(digest) as file:
        assert store.delete(digest)
        assert file.read() == b"x"
    assert not store.delete(digest)
    assert store.digests() == set()
    with pytest.raises(FileNotFoundError):
        store.open(digest)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_only_a_digest_names_a_path(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        store.path(name)


def test_blobs_outlive_the_store_and_what_was_half_written_does_not(store: BlobStore) -> None:
    digest = store.put_bytes(b"kept")
    (store.folder / "tmp-crashed").write_bytes(b"half")
    assert store.digests() == {digest}
    again = BlobStore(store.folder)
    assert again.digests() == {digest}
    assert not (store.folder / "tmp-crashed").exists()


def test_a_source_that_cannot_be_read_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        store.put_file(tmp_path / "missing")
    with pytest.raises(OSError, match="directory"):
        store.put_file(tmp_path)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_new_folder_gets_the_format_record_and_opens_again(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    engine.write([(keys.tenant_key("bank"), b"{}")])
    with pytest.raises(FolderLocked, match="another tenure is running"):
        open_engine(tmp_path)
    engine.close()
    again = open_engine(tmp_path)
    assert again.get(keys.FORMAT_KEY) == b"1"
    assert again.get(keys.tenant_key("bank")) == b"{}"
    again.close()


def test_a_newer_format_is_refused_untouched_and_the_folder_let_go(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    engine.write([(keys.FORMAT_KEY, b"2")])
    engine.close()
    for _ in range(2):
        with pytest.raises(FolderForeign, match=r"written by a newer tenure \(format 2; this one knows up to 1\)"):
            open_engine(tmp_path)


def test_data_without_a_format_and_an_unreadable_format_are_refused() -> None:
    engine = MemoryEngine()
    engine.write([(b"\x10something", b"else")])
    with pytest.raises(FolderForeign, match="without Tenure's format record"):
        check_format(engine, "/data")
    for value in (b"", b"one", b"0"):
        engine.write([(keys.FORMAT_KEY, value)])
        with pytest.raises(FolderDamaged, match="/data"):
            check_format(engine, "/data")


def test_the_format_record_is_durable_before_anything_else_is_written() -> None:
    engine = MemoryEngine()
    check_format(engine, "memory")
    engine.crash()
    assert engine.get(keys.FORMAT_KEY) == b"1"
