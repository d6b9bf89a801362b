"""A backup as it lies on a disk: packed, held against itself, refused when anything is wrong with it, restored."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.actors.exports import actor_lines
from host.backup import backups as room
from host.backup import pack, restore, snapshot, tenant
from host.backup.archive import FORMAT, MANIFEST, BackupError, Manifest, backups_in, decode_manifest, verify
from host.backup.backups import Backup, Backups
from host.backup.snapshot import COPY_FOLDER, ShardCopies, Snapshots
from host.cli.main import cli
from host.model.clock import SystemClock
from host.model.errors import Conflict, NotFound, Unavailable
from host.model.ids import ActorId
from host.registry.records import SecretRecord, TenantRecord
from host.registry.store import put_secret, put_tenant
from host.storage import keys
from host.storage.layout import LAYOUT_FILE, Layout, shard_of
from host.storage.ports import Write
from host.storage.records import ActorRecord
from host.storage.upgrade import open_control, open_shard, prepare
from host.supervisor.asking import Desk, Direct
from host.supervisor.staff import Staff

ROOT = Path(__file__).parents[2]
SHARDS = 2
ACTORS = [ActorId(tenant, "Account", f"user-{number}") for tenant in ("a", "b") for number in range(40)]
ID = "20261123T130141Z-412"
BLOB = "ab" * 32


def records(actor: ActorId) -> list[Write]:
    return [
        (keys.actor_key(actor), ActorRecord(8, 1, 5_000).encode()),
        (keys.state_prefix(actor) + b"balance", b"7"),
        (keys.alarm_key(5_000, actor), b"0"),
    ]


class Scheduler:
    """What a snapshot asks of one; who pauses guests has tests of its own."""

    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Rooms:
    """A host's data folder with its engines open, and the two halves of a snapshot with nothing between them."""

    def __init__(self, folder: Path) -> None:
        self.data, self.folder = folder / "data", folder / "backups"
        self.layout = prepare(self.data, SHARDS)
        self.control = open_control(self.data)
        self.shards = {number: open_shard(self.data, self.layout, number) for number in range(SHARDS)}
        sealed = SecretRecord("a", "stripe-key", "key", "sealed", 1, 1)
        self.control.write([put_tenant(TenantRecord("a", 1)), put_secret(sealed)])
        for actor in ACTORS:
            self.shards[shard_of(actor, SHARDS)].write(records(actor))
        blob = self.data / "blobs" / BLOB[:2] / BLOB
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"component")
        self.scheduler = Scheduler()
        clock = SystemClock()
        self.copies = ShardCopies(lambda: self.shards, SHARDS, self.scheduler, clock)  # type: ignore[arg-type]
        self.desk = Desk(self.copies.answering())
        self.staff = Staff(list)
        self.staff.serves(0, Direct(self.desk.handlers))
        snapshots = Snapshots(self.data, self.layout, self.control, self.staff, lambda: [0])
        self.backups = Backups(self.data, self.folder, snapshots)

    async def close(self) -> None:
        await self.backups.close()
        await self.desk.close()
        for engine in (self.control, *self.shards.values()):
            engine.close()

    async def made(self, keep: int | None = None) -> Backup:
        """Make one and wait for its end."""
        begun = await self.backups.create(keep)
        assert (begun.state, begun.size) == ("running", None)
        assert self.backups._task is not None
        await self.backups._task
        return await self.backups.one(begun.id)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Rooms]:
    rooms = Rooms(folder)
    try:
        yield rooms
    finally:
        await rooms.close()


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with opened(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, for tests that only read it, or a copy of it."""

    async def make() -> Path:
        async with opened(tmp_path_factory.mktemp("whole")) as rooms:
            return rooms.folder / (await rooms.made()).id

    return asyncio.run(make())


def nothing(_count: int) -> None:
    """Told of progress, and not interested."""


def state(data: Path) -> list[tuple[bytes, bytes]]:
    """All that the engines of a data folder hold."""
    layout = Layout(SHARDS)
    engines = [open_control(data), *(open_shard(data, layout, number) for number in range(SHARDS))]
    try:
        return [pair for engine in engines for pair in engine.scan(b"\x00", b"\xff")]
    finally:
        for engine in engines:
            engine.close()


async def test_a_backup_has_what_was_there_and_restores_to_the_same(rooms: Rooms, tmp_path: Path) -> None:
    made = await rooms.made()
    assert (made.state, made.error, made.written) == ("complete", None, made.size)
    rooms.shards[0].write([(keys.state_prefix(ACTORS[0]) + b"later", b"1")])
    told: list[int] = []
    found = restore.restore(rooms.folder / made.id, tmp_path / "restored", told.append)
    assert (sum(told), found.manifest.id) == (made.size, made.id)
    assert (found.tenants, found.functions, found.actors, found.secrets) == (1, 0, len(ACTORS), 1)
    expected = sorted(
        [pair for actor in ACTORS for pair in records(actor)]
        + [(keys.FORMAT_KEY, b"1")] * (1 + SHARDS)
        + list(rooms.control.scan(*keys.REGISTRY))
    )
    assert sorted(state(tmp_path / "restored")) == expected
    assert (tmp_path / "restored" / "blobs" / BLOB[:2] / BLOB).read_bytes() == b"component"
    prepare(tmp_path / "restored", 5)  # a host takes it for its own
    assert sorted(path.name for path in (tmp_path / "restored").iterdir()) == [
        "blobs", "control", LAYOUT_FILE, "lock", "shards",
    ]  # fmt: skip


async def test_nothing_is_left_in_the_data_folder_when_a_backup_is_done(rooms: Rooms) -> None:
    before = sorted(path for path in rooms.data.rglob("*") if path.is_dir())
    for _ in range(2):
        assert (await rooms.made()).state == "complete"
    after = sorted(path for path in rooms.data.rglob("*") if path.is_dir())
    assert after == sorted([*before, rooms.data / room.SNAPSHOTS_FOLDER])
    assert list((rooms.data / room.SNAPSHOTS_FOLDER).iterdir()) == []


async def test_one_backup_is_made_at_a_time(rooms: Rooms) -> None:
    first = await rooms.backups.create()
    with pytest.raises(Conflict, match=first.id):
        await rooms.backups.create()
    with pytest.raises(Conflict, match="being made"):
        await rooms.backups.delete(first.id)
    assert rooms.backups._task is not None
    await rooms.backups._task
    assert (await rooms.made()).state == "complete"


async def test_a_backup_that_becomes_complete_while_it_is_looked_for_is_found(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await rooms.backups.create()
    read, done = threading.Event(), threading.Event()

    def slowly(folder: Path) -> list[Manifest]:
        found = backups_in(folder)
        read.set()
        assert done.wait(10)
        return found

    monkeypatch.setattr(room, "backups_in", slowly)
    looking = asyncio.create_task(rooms.backups.one(begun.id))
    await asyncio.to_thread(read.wait, 10)
    assert rooms.backups._task is not None
    await rooms.backups._task
    done.set()
    assert (await looking).id == begun.id
    assert (await rooms.backups.one(begun.id)).state == "complete"


async def test_the_newest_are_kept_in_order_of_time(rooms: Rooms) -> None:
    (rooms.folder / "of somebody else").mkdir(parents=True)
    made = [(await rooms.made()).id for _ in range(4)]
    assert made == sorted(made)
    made.append((await rooms.made(keep=2)).id)
    assert [one.id for one in await rooms.backups.all()] == made[-2:]
    assert sorted(path.name for path in rooms.folder.iterdir()) == [*made[-2:], "of somebody else"]


async def test_a_backup_that_is_deleted_is_gone_and_no_other_name_is_touched(rooms: Rooms) -> None:
    made = await rooms.made()
    for name in ("../data", ".", "", "20261123T130141Z-412"):
        with pytest.raises(NotFound):
            await rooms.backups.delete(name)
    await rooms.backups.delete(made.id)
    assert (await rooms.backups.all(), list(rooms.folder.iterdir())) == ([], [])


async def test_a_disk_without_room_is_said_before_anything_is_done(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SPARE_BYTES", shutil.disk_usage(rooms.data).total + 1)
    with pytest.raises(Unavailable, match="MiB free, and a backup needs"):
        await rooms.backups.create()
    assert await rooms.backups.all() == []


async def test_a_worker_that_stays_away_fails_the_backup_and_the_next_one_works(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PATIENCE_S", 0.0)
    way = rooms.staff._serving[0]
    rooms.staff.leave(way)
    failed = await rooms.made()
    assert (failed.state, failed.files) == ("failed", None)
    assert "did not answer" in str(failed.error)
    rooms.staff.serves(0, way)
    complete = await rooms.made()
    assert (complete.state, [one.id for one in await rooms.backups.all()]) == ("complete", [complete.id])


async def test_a_backup_waits_for_a_worker_that_is_being_replaced(rooms: Rooms) -> None:
    way = rooms.staff._serving[0]
    rooms.staff.leave(way)
    asyncio.get_running_loop().call_later(snapshot.AGAIN_S * 1.5, rooms.staff.serves, 0, way)
    assert (await rooms.made()).state == "complete"


async def test_a_disk_that_fails_while_shards_are_copied_fails_the_backup_and_guests_go_on(rooms: Rooms) -> None:
    def checkpoint(_folder: Path) -> None:
        assert rooms.scheduler.paused
        raise OSError("no space left")

    right = rooms.shards[1]
    rooms.shards[1] = _Failing(right.path, checkpoint)  # type: ignore[assignment]
    failed = await rooms.made()
    assert (failed.state, rooms.scheduler.paused) == ("failed", False)
    assert "copied" in str(failed.error)
    rooms.shards[1] = right
    assert (await rooms.made()).state == "complete"


class _Failing:
    def __init__(self, path: Path, checkpoint: Callable[[Path], None]) -> None:
        self.path, self.checkpoint = path, checkpoint

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", ["pipe", "000001.sst/more", "un known"])
async def test_what_a_worker_puts_beside_its_engines_files_is_in_no_backup(rooms: Rooms, name: str) -> None:
    engine = rooms.shards[0]
    checkpoint = engine.checkpoint

    def strange(folder: Path) -> None:
        checkpoint(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        if name == "pipe":
            os.mkfifo(folder / name)
        else:
            (folder / name).touch()

    engine.checkpoint = strange  # type: ignore[method-assign]
    failed = await rooms.made()
    assert (failed.state, list(rooms.folder.iterdir())) == ("failed", [])
    assert "none of the storage's" in str(failed.error)
    engine.checkpoint = checkpoint  # type: ignore[method-assign]
    assert (await rooms.made()).state == "complete"


async def test_a_host_that_stops_gives_the_backup_up(rooms: Rooms) -> None:
    begun = await rooms.backups.create()
    await rooms.backups.close()
    assert (await rooms.backups.one(begun.id)).state == "failed"
    assert list(rooms.folder.iterdir()) == []


async def test_what_a_killed_host_has_left_is_removed_and_nothing_else(rooms: Rooms) -> None:
    made = await rooms.made()
    left = (
        rooms.folder / f"{ID}{pack.PARTIAL}" / "control",
        rooms.folder / f"{ID}{pack.REMOVING}",
        rooms.data / room.SNAPSHOTS_FOLDER / ID / "control",
        rooms.shards[0].path / COPY_FOLDER,
        rooms.shards[1].path / f"{COPY_FOLDER}.tmp",
    )
    for path in left:
        path.mkdir(parents=True)
    (rooms.folder / "notes.partial").mkdir()
    rooms.backups.remove_left()
    assert [path for path in left if path.exists()] == []
    assert sorted(path.name for path in rooms.folder.iterdir()) == [made.id, "notes.partial"]
    assert (await rooms.made()).state == "complete"


DAMAGES = [
    "a bit that flipped", "a file that was cut", "a file that is gone", "a blob that is gone", "a file too many",
    "a link", "no manifest", "half a manifest", "a manifest of another", "a newer format", "a manifest that is a list",
]  # fmt: skip


def damages(folder: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """What may happen to a backup, and what is to be said of it."""
    table = next((folder / "shards" / "000").glob("*.sst"))
    text = json.loads((folder / MANIFEST).read_text())

    def garbled() -> None:
        data = bytearray(table.read_bytes())
        data[len(data) // 2] ^= 1
        table.chmod(0o600)
        table.write_bytes(data)

    def manifest(**fields: object) -> None:
        (folder / MANIFEST).write_text(json.dumps({**text, **fields}))

    return {
        "a bit that flipped": (garbled, "is damaged: shards/000/"),
        "a file that was cut": (lambda: os.truncate(table, table.stat().st_size - 1), "is damaged: shards/000/"),
        "a file that is gone": (table.unlink, "is not whole: shards/000/"),
        "a blob that is gone": ((folder / "blobs" / BLOB[:2] / BLOB).unlink, "is not whole: blobs/"),
        "a file too many": ((folder / "control" / "more").touch, "does not belong to it: 'control/more'"),
        "a link": (lambda: (folder / "control" / "out").symlink_to("/"), "does not belong to it: 'control/out'"),
        "no manifest": ((folder / MANIFEST).unlink, "is no whole backup"),
        "half a manifest": (lambda: os.truncate(folder / MANIFEST, 200), "cannot be read"),
        "a manifest of another": (lambda: manifest(id="another"), "was changed after it was written"),
        "a newer format": (lambda: manifest(tenure_backup=FORMAT + 1), "was made by a newer tenure"),
        "a manifest that is a list": (lambda: (folder / MANIFEST).write_text("[]"), "cannot be read"),
    }


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_backup_that_is_not_as_it_was_is_refused_and_nothing_is_restored(
    whole: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / ID
    shutil.copytree(whole, folder)
    work, said = damages(folder)[damage]
    work()
    data = tmp_path / "data"
    data.mkdir()
    (data / "secrets.key").write_text("kept")
    with pytest.raises(BackupError, match=said):
        verify(folder, nothing)
    with pytest.raises(BackupError, match=said):
        restore.restore(folder, data, nothing)
    with pytest.raises(BackupError, match=said), tenant.exported(folder, "a", nothing):
        pass
    assert {path.name for path in data.iterdir()} - {"lock"} == {"secrets.key"}
    result = CliRunner().invoke(cli, ["backup", "verify", str(folder)])
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert said.partition(":")[0] in result.output


def test_a_manifest_may_not_name_files_outside_of_the_backup(whole: Path) -> None:
    text = json.loads((whole / MANIFEST).read_text())
    for name in ("../../etc/passwd", "/etc/passwd", "control/../../x", "shards/000/.hidden", "lock"):
        strange = Manifest(ID, text["created_at"], "0.1.0", 1.0, {name: (1, "0" * 64)})
        with pytest.raises(BackupError, match="names a file that no backup has"):
            decode_manifest(strange.encode(), "it")


def test_a_state_that_no_host_had_is_refused_whatever_its_checksums_say(tmp_path: Path) -> None:
    """A copy whose shards were exchanged, packed again."""
    data, folder = tmp_path / "data", tmp_path / "backups"
    layout = prepare(data, SHARDS)
    engine = open_shard(data, layout, 1 - shard_of(ACTORS[0], SHARDS))
    engine.write(records(ACTORS[0]))
    engine.close()
    folder.mkdir()
    (data / "lock").unlink(missing_ok=True)
    pack.pack(data, folder, ID, 1.0, nothing)
    verify(folder / ID, nothing)
    with pytest.raises(BackupError, match="holds a state that no host had"):
        restore.restore(folder / ID, tmp_path / "restored", nothing)
    assert {path.name for path in (tmp_path / "restored").iterdir()} == {"lock"}


def test_a_folder_that_holds_anything_is_not_restored_into(whole: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(data, SHARDS)
    before = sorted(data.rglob("*"))
    with pytest.raises(BackupError, match="is not empty"):
        restore.restore(whole, data, nothing)
    assert sorted(data.rglob("*")) == before
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="is a file"):
        restore.restore(whole, tmp_path / "file", nothing)


HOLDS = """
import sys
from pathlib import Path
from host.storage.upgrade import DataLock
lock = DataLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_two_restores_into_one_folder_do_not_meet(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BackupError, match="under way"):
            restore.restore(whole, tmp_path / "data", nothing)
        other.kill()


CUT = """
import os, sys
from pathlib import Path
from host.backup import restore
what, left = sys.argv[3], [int(sys.argv[4])]

def step():
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)

rename = Path.rename
if what == "rename":
    Path.rename = lambda self, target: (step(), rename(self, target))[1]
restore.restore(Path(sys.argv[1]), Path(sys.argv[2]), lambda count: step() if what == "copy" else None)
"""


@pytest.mark.parametrize(("what", "step"), [("copy", 0), ("copy", 9), ("rename", 0), ("rename", 2), ("rename", 3)])
def test_a_restore_that_was_killed_has_made_no_data_folder_and_can_be_done_again(
    whole: Path, tmp_path: Path, what: str, step: int
) -> None:
    """Killed while a file is copied, or before something moves into its place; the last is layout.json."""
    data = tmp_path / "data"
    command = [sys.executable, "-c", CUT, str(whole), str(data), what, str(step)]
    assert subprocess.run(command, cwd=ROOT).returncode == 9
    assert (data / restore.RESTORING).exists()
    assert not (data / LAYOUT_FILE).exists()
    restore.restore(whole, data, nothing)
    assert not (data / restore.RESTORING).exists()
    assert sum(1 for key, _ in state(data) if key[0] == keys.Kind.ACTOR) == len(ACTORS)


def test_an_export_of_a_backup_is_what_the_host_would_have_exported(whole: Path, tmp_path: Path) -> None:
    with tenant.exported(whole, "a", nothing) as pieces:
        lines = b"".join(pieces).decode().splitlines()
    assert json.loads(lines[0]) == {
        "tenure_export": 1, "tenant": "a", "exported_at": json.loads((whole / MANIFEST).read_text())["created_at"],
    }  # fmt: skip
    restore.restore(whole, tmp_path / "data", nothing)
    engines = [open_shard(tmp_path / "data", Layout(SHARDS), number) for number in range(SHARDS)]
    expected = [line for engine in engines for line in actor_lines(engine, "a", None)]
    for engine in engines:
        engine.close()
    assert lines[1:-1] == expected
    assert json.loads(lines[-1]) == {"end": {"actors": 40, "keys": 40}}
    with (
        pytest.raises(BackupError, match="has no actor of a tenant 'nobody'"),
        tenant.exported(whole, "nobody", nothing),
    ):
        pass


def test_backups_are_listed_in_order_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    moments = [datetime(2027, 1, 2, 3, 4, 5, ms * 1000, tzinfo=UTC) for ms in (7, 412)]
    for moment in reversed(moments):
        pack.pack(empty, tmp_path, pack.new_id(moment), 1.0, nothing)
    (tmp_path / "20270102T030405Z-500").mkdir()
    found = backups_in(tmp_path)
    assert [one.id for one in found] == ["20270102T030405Z-007", "20270102T030405Z-412"]
    assert [one.created_at for one in found] == ["2027-01-02T03:04:05.007Z", "2027-01-02T03:04:05.412Z"]
    assert backups_in(tmp_path / "not there") == []
    (tmp_path / "20280102T030405Z-000.partial").mkdir()
    (tmp_path / "20270102T030405Z-500").rmdir()
    assert (pack.newest(tmp_path), pack.newest(tmp_path / "not there")) == (moments[1], None)
