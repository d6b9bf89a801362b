"""A data folder's shards: made, filled from an older layout, put into another number, cut short at any point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli.main import cli
from host.model.ids import ActorId
from host.storage import keys, reshard, upgrade
from host.storage.layout import LAYOUT_FILE, Layout, read_layout, shard_of
from host.storage.ports import FolderDamaged, FolderForeign, FolderLocked, OpenError, Write
from host.storage.records import ActorRecord
from host.storage.upgrade import DataLock, open_control, open_engine, open_shard, prepare, reshard_folder

ROOT = Path(__file__).parents[2]
ACTORS = [ActorId(tenant, "Account", f"user-{number}\0{number}") for tenant in ("a", "b") for number in range(300)]


def records(actor: ActorId, number: int) -> list[Write]:
    prefix = keys.state_prefix(actor)
    found: list[Write] = [
        (keys.actor_key(actor), ActorRecord(10, 1, 5_000 + number).encode()),
        (prefix + b"balance", b"%d" % number),
        (prefix + b"\x00\x01odd", os.urandom(200)),
        (keys.alarm_key(5_000 + number, actor), b"0"),
        (keys.actor_use_key(actor), b"1700000000000"),
    ]
    return [*found, (keys.dead_alarm_key(actor), b"{}")] if number % 7 == 0 else found


REGISTRY: list[Write] = [
    (keys.tenant_key("a"), b"{}"),
    (keys.function_key("a", "f"), b'{"name": "f"}'),
    (keys.version_key("a", "f", 1), b"{}"),
    (keys.api_key_key(b"hash"), b"{}"),
]


def fill(data: Path, shards: int) -> dict[bytes, bytes]:
    """A data folder with actors in it; everything of theirs that it holds."""
    prepare(data, shards)
    open_control(data).close()
    layout = read_layout(data)
    assert layout is not None
    engines = [open_shard(data, layout, shard) for shard in range(shards)]
    for number, actor in enumerate(ACTORS):
        engines[shard_of(actor, shards)].write(records(actor, number))
    for engine in engines:
        engine.close()
    return state(data)


def state(data: Path) -> dict[bytes, bytes]:
    """All that the shards hold, each record checked to be in the shard where a worker looks for it."""
    layout = read_layout(data)
    assert layout is not None
    found: dict[bytes, bytes] = {}
    for shard in range(layout.shards):
        engine = open_shard(data, layout, shard)
        for key, value in engine.scan(b"\x02", b"\xff"):
            assert shard_of(keys.actor_part(key)[0], layout.shards) == shard
            assert key not in found
            found[key] = value
        engine.close()
    return found


def quiet(what: str, count: int) -> None:
    """Says nothing."""


def test_a_new_folder_gets_as_many_shards_as_it_was_made_with_for_good(tmp_path: Path) -> None:
    assert [prepare(tmp_path, shards).shards for shards in (4, 2, 8)] == [4, 4, 4]


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 3), (3, 1)])
def test_every_record_is_there_after_a_reshard_and_in_its_shard(before: int, after: int, tmp_path: Path) -> None:
    written = fill(tmp_path, before)
    assert len(written) == 5 * len(ACTORS) + len(range(0, len(ACTORS), 7))
    old, new, tally = reshard_folder(tmp_path, after, quiet)
    assert (old.shards, new.shards, tally.total) == (before, after, len(written))
    assert tally.records == {"state": 1200, "actors": 600, "alarms": 600, "dead alarms": 86, "uses": 600}
    assert state(tmp_path) == written
    assert sorted(path.name for path in tmp_path.glob("shards*")) == ["shards-2"]
    assert reshard_folder(tmp_path, before, quiet)[1] == Layout(before, "shards-3")
    assert state(tmp_path) == written


def test_a_folder_of_the_old_layout_is_taken_over_whole(tmp_path: Path) -> None:
    old = open_engine(tmp_path)
    old.write(REGISTRY)
    for number, actor in enumerate(ACTORS):
        old.write(records(actor, number))
    actors = dict(old.scan(b"\x10", b"\x20"))
    old.close()
    assert prepare(tmp_path, 3) == Layout(3)
    assert state(tmp_path) == actors
    control = open_control(tmp_path)
    assert control.scan(b"\x02", b"\xff") == sorted(REGISTRY)
    control.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control", LAYOUT_FILE, "shards"]
    assert prepare(tmp_path, 3) == Layout(3)


def test_an_old_layout_with_records_of_an_unknown_kind_is_left_alone(tmp_path: Path) -> None:
    old = open_engine(tmp_path)
    old.write([(b"\x19new", b"x"), *REGISTRY])
    old.close()
    with pytest.raises(FolderForeign, match="nothing was changed"):
        prepare(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_folder_whose_layout_was_lost_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (tmp_path / LAYOUT_FILE).unlink()
    with pytest.raises(FolderDamaged, match=r"no layout\.json"):
        prepare(tmp_path, 2)


def test_a_shard_that_is_missing_is_not_made_anew(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (tmp_path / "shards" / "001").rename(tmp_path / "elsewhere")
    with pytest.raises(FolderDamaged, match="001 is missing"):
        open_shard(tmp_path, Layout(2), 1)
    with pytest.raises(FolderDamaged, match="001 is missing"):
        reshard_folder(tmp_path, 4, quiet)
    (tmp_path / "elsewhere").rename(tmp_path / "shards" / "001")
    reshard_folder(tmp_path, 4, quiet)


def test_a_first_start_that_was_cut_short_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "write_layout", crash)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, 3)
    assert prepare(tmp_path, 2) == Layout(2)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["000", "001"]


def test_a_reshard_refuses_while_a_host_runs(tmp_path: Path) -> None:
    written = fill(tmp_path, 2)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderLocked, match="another tenure is running"):
        reshard_folder(tmp_path, 4, quiet)
    holder.communicate()
    layout = read_layout(tmp_path)
    assert layout is not None
    for hold in (lambda: open_control(tmp_path), lambda: open_shard(tmp_path, layout, 1)):  # a worker that was left
        engine = hold()
        with pytest.raises(FolderLocked, match="another tenure is running"):
            reshard_folder(tmp_path, 4, quiet)
        engine.close()
    assert state(tmp_path) == written


_HOLD = """
import sys
from pathlib import Path
from host.storage.upgrade import DataLock
lock = DataLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_copy_that_is_not_like_the_original_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = fill(tmp_path, 2)

    class Forgetful(reshard._Writer):
        def put(self, key: bytes, value: bytes) -> None:
            super().put(key, b"0" if key.endswith(b"balance") and value == b"17" else value)

    monkeypatch.setattr(reshard, "_Writer", Forgetful)
    with pytest.raises(OpenError, match="not like what was copied"):
        reshard_folder(tmp_path, 4, quiet)
    assert read_layout(tmp_path) == Layout(2)
    assert state(tmp_path) == written


_CUT = """
import os, signal, sys
from pathlib import Path
from host.storage import layout, reshard, rocks, upgrade

left = int(sys.argv[2])

def counted(name, real):
    def call(*args, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **named)
    return call

for room, name in [
    (rocks.RocksEngine, "write"), (rocks.RocksEngine, "sync"), (rocks.RocksEngine, "close"),
    (rocks.RocksEngine, "scan"),
    (os, "fsync"), (os, "rename"), (Path, "rename"), (Path, "mkdir"), (os, "rmdir"), (os, "unlink"),
]:
    setattr(room, name, counted(name, getattr(room, name)))
reshard._SCAN, reshard._BATCH_BYTES = 500, 20_000
upgrade.reshard_folder(Path(sys.argv[1]), int(sys.argv[3]), lambda what, count: None)
print(left)
"""


def _cut(data: Path, steps: int, shards: int) -> int | None:
    """Reshard in a process that is killed after so many operations on the disk. How many were left, if it was not."""
    done = subprocess.run(
        [sys.executable, "-c", _CUT, str(data), str(steps), str(shards)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.timeout(300)
def test_a_reshard_that_is_killed_anywhere_leaves_the_old_shards_or_the_new(tmp_path: Path) -> None:
    written = fill(tmp_path, 1)
    left = _cut(tmp_path, 1_000_000, 2)
    assert left is not None
    steps = 1_000_000 - left
    changed: list[bool] = []
    for cut in range(0, 4 * steps, max(steps // 10, 1)):
        before = read_layout(tmp_path)
        assert before is not None
        target = 5 - before.shards  # from 2 to 3, and back
        killed = _cut(tmp_path, cut, target) is None
        after = read_layout(tmp_path)
        assert after is not None
        assert after.shards in (before.shards, target)
        assert state(tmp_path) == written
        if not killed:
            break
        changed.append(after.shards == target)
    assert changed[0] is False
    assert True in changed, "it was never killed between the change and the end"
    reshard_folder(tmp_path, 5, quiet)
    assert state(tmp_path) == written
    assert len(list(tmp_path.glob("shards*"))) == 1


def test_a_takeover_of_the_old_layout_that_was_cut_short_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_engine(tmp_path)
    old.write([*REGISTRY, *(each for number, actor in enumerate(ACTORS) for each in records(actor, number))])
    actors = dict(old.scan(b"\x10", b"\x20"))
    old.close()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "write_layout", crash)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, 2)
    assert read_layout(tmp_path) is None
    assert prepare(tmp_path, 3) == Layout(3)
    assert state(tmp_path) == actors


def test_the_command_says_what_it_did_and_why_it_could_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    fill(data, 1)
    run = CliRunner().invoke(cli, ["data", "reshard", "2", "--data", str(data)])
    assert run.exit_code == 0, run.output
    assert "1 → 2 shards: 1,200 of state, 600 of actors, 600 of alarms, 86 of dead alarms" in run.stdout
    again = CliRunner().invoke(cli, ["data", "reshard", "2", "--data", str(data)])
    assert "has 2 shards already" in again.stdout
    elsewhere = CliRunner().invoke(cli, ["data", "reshard", "2", "--data", str(tmp_path)])
    assert elsewhere.exit_code != 0
    assert "no data folder of a host" in elsewhere.stderr
    lock = DataLock(data)  # nobody holds it, and none was made where there is no data
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
