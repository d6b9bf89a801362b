"""Which shard an actor belongs to, and the file that says how many there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host.model.ids import ActorId
from host.storage.layout import LAYOUT_FILE, Layout, read_layout, shard_of, stray_folders, write_layout
from host.storage.ports import FolderDamaged, FolderForeign


def test_the_shard_of_an_actor_never_changes() -> None:
    """What is on disks already: a change here would lose every actor."""
    actors = [ActorId("acme", "Account", "alice"), ActorId("acme", "Account", "b\0b"), ActorId("t", "Ünit", "名前")]
    assert [[shard_of(actor, shards) for actor in actors] for shards in (1, 2, 7, 1000)] == [
        [0, 0, 0],
        [1, 0, 0],
        [4, 6, 2],
        [555, 274, 760],
    ]


def test_names_that_read_alike_side_by_side_are_different_actors() -> None:
    alike = [ActorId("ab", "c", "d"), ActorId("a", "bc", "d"), ActorId("a", "b", "cd"), ActorId("", "", "abcd")]
    assert len({shard_of(actor, 1_000_000) for actor in alike}) == len(alike)


def test_actors_spread_evenly() -> None:
    counts = [0] * 8
    for number in range(8_000):
        counts[shard_of(ActorId("acme", "Account", f"user-{number}"), 8)] += 1
    assert min(counts) > 850
    assert max(counts) < 1_150


def test_a_layout_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_layout(tmp_path) is None
    for layout in (Layout(4), Layout(8, "shards-2")):
        write_layout(tmp_path, layout)
        assert read_layout(tmp_path) == layout
    assert (Layout(4).next_folder(), Layout(8, "shards-2").next_folder()) == ("shards-2", "shards-3")
    assert layout.shard_folder(tmp_path, 7) == tmp_path / "shards-2" / "007"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", FolderDamaged),
        ("[]", FolderDamaged),
        ('{"version": 1, "shards": 0, "folder": "shards"}', FolderDamaged),
        ('{"version": 1, "shards": true, "folder": "shards"}', FolderDamaged),
        ('{"version": 1, "shards": 2, "folder": "../elsewhere"}', FolderDamaged),
        ('{"version": 2}', FolderDamaged),
        ('{"version": 2, "shards": 2, "folder": "shards"}', FolderForeign),
    ],
)
def test_a_layout_that_is_not_ours_is_refused_and_left_alone(text: str, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / LAYOUT_FILE).write_text(text)
    with pytest.raises(error, match=str(tmp_path)):
        read_layout(tmp_path)
    assert (tmp_path / LAYOUT_FILE).read_text() == text


def test_only_folders_of_shards_that_do_not_count_are_stray(tmp_path: Path) -> None:
    for name in ("shards", "shards-2", "shards-3", "shards-x", "control"):
        (tmp_path / name).mkdir()
    write_layout(tmp_path, Layout(2, "shards-2"))
    assert [path.name for path in stray_folders(tmp_path, read_layout(tmp_path))] == ["shards", "shards-3"]
    assert json.loads((tmp_path / LAYOUT_FILE).read_text())["shards"] == 2
