"""Backups of a real host under load: what is in them, and what a SIGKILL in the middle of one costs.

The load are transfers between accounts in all shards: a handler adds "-ID" to one account's list and, once that was
answered, "+ID" to another's. So a list is a history, and a "+ID" without its "-ID" would be a state the host never had.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from host.backup.archive import verify
from host.backup.backups import SNAPSHOTS_FOLDER
from host.backup.pack import PARTIAL
from host.backup.snapshot import COPY_FOLDER
from tests.conftest import GUESTS, SESSION
from tests.kit.admin import Admin
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.until import wait_until

pytestmark = SESSION

TENURE = str(Path(sys.executable).with_name("tenure"))
ACCOUNTS = [f"account-{number}" for number in range(6)]
CLIENTS = 4
DEADLINE_S = 60.0

Histories = dict[str, list[str]]


class Stage:
    """A host with two workers, a function that serves, and the numbers of transfers so far."""

    def __init__(self, host: HostProcess, admin: Admin, shipped: str) -> None:
        self.host, self.admin, self.shipped = host, admin, shipped
        self.numbers = itertools.count(1)
        self.acknowledged: list[str] = []
        self.unknown = 0
        """Transfers that nobody knows the end of."""

    @property
    def backups(self) -> Path:
        return self.host.data / "backups"

    async def begin(self) -> dict[str, Any]:
        reply = await self.admin.http.post("/v1/backups", json={})
        assert reply.status_code == 202, reply.text
        return dict(reply.json())

    async def listed(self) -> list[dict[str, Any]]:
        return list((await self.admin.http.get("/v1/backups?limit=500")).json()["backups"])

    async def ended(self, backup_id: str) -> dict[str, Any]:
        async def over() -> dict[str, Any] | None:
            found = (await self.admin.http.get(f"/v1/backups/{backup_id}")).json()
            return None if found["state"] == "running" else dict(found)

        found = await wait_until(over, "the end of the backup", DEADLINE_S)
        assert found is not None
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    host = HostProcess(tmp_path_factory.mktemp("backup") / "data", flags=["--workers", "2"])
    await asyncio.to_thread(host.start)
    try:
        async with host.admin() as admin:
            yield Stage(host, admin, (await admin.ship(GUESTS / "actors")).host)
    finally:
        await asyncio.to_thread(host.kill)


async def transfer(site: Site, source: str, target: str, name: str) -> bool:
    """Whether it was acknowledged."""
    steps = [["call", "PROBE", account, "add", [sign + name]] for account, sign in ((source, "-"), (target, "+"))]
    try:
        reply = await site.post("/", content=json.dumps(steps))
    except (OSError, asyncio.IncompleteReadError):
        return False
    return reply.status_code == 200


async def client(stage: Stage, number: int, going: Callable[[], bool]) -> None:
    site = Site(f"http://127.0.0.1:{stage.host.port}", stage.shipped)
    try:
        while going():
            name = str(next(stage.numbers))
            source, target = (ACCOUNTS[(int(name) + number * step) % len(ACCOUNTS)] for step in (1, 2))
            target = target if target != source else ACCOUNTS[number]
            if await transfer(site, source, target, name):
                stage.acknowledged.append(name)
            else:
                stage.unknown += 1
                await asyncio.sleep(0.005)  # it is away
    finally:
        await site.close()


@asynccontextmanager
async def transfers(stage: Stage) -> AsyncIterator[None]:
    """Transfers go on while the block runs: some were acknowledged before it begins, and some more before it ends."""
    going = True
    tasks = [asyncio.create_task(client(stage, number, lambda: going)) for number in range(1, CLIENTS + 1)]
    try:
        for moment in ("before", "after"):
            seen = len(stage.acknowledged)
            await wait_until(lambda seen=seen: len(stage.acknowledged) > seen + 20, f"transfers {moment}", DEADLINE_S)
            if moment == "before":
                yield
    finally:
        going = False
        await asyncio.gather(*tasks)


async def histories(admin: Admin) -> Histories:
    """What each account holds."""
    reply = await admin.http.get("/v1/actors/export")
    found: Histories = {}
    name = ""
    for line in map(json.loads, reply.text.splitlines()[1:-1]):
        if "actor" in line:
            name = line["actor"][1]
        elif line["key"] == "items":
            found[name] = line["value"]
    return found


def check(found: Histories, acknowledged: list[str], under_way_max: int) -> None:
    """The books of a state that a host was in."""
    every = list(itertools.chain(*found.values()))
    assert len(set(every)) == len(every), "something was done twice"
    left, arrived = ({item[1:] for item in every if item[0] == sign} for sign in "-+")
    assert set(acknowledged) - arrived == set(), "what was acknowledged is gone"
    assert arrived - left == set(), "an effect is there without its cause"
    assert len(left - arrived) <= under_way_max


async def run(*arguments: str, stage: Stage | None = None, code: int = 0) -> tuple[str, str]:
    environ = {**os.environ, "PYTHONUTF8": "1"}
    if stage is not None:
        environ |= {"TENURE_API_KEY": stage.host.key, "TENURE_ENDPOINT": stage.host.admin_url}
    started = await asyncio.create_subprocess_exec(TENURE, "backup", *arguments, env=environ, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(DEADLINE_S):
        out, said = await started.communicate()
    assert started.returncode == code, said.decode()
    return out.decode(), said.decode()


async def at_once(seen: Callable[[], bool], what: str) -> None:
    """Looks without a pause: what it waits for is there for milliseconds."""
    end = time.monotonic() + DEADLINE_S
    while not seen():
        assert time.monotonic() < end, f"{what} did not come"
        await asyncio.sleep(0)


async def test_a_backup_under_load_is_a_state_that_the_host_was_in_and_serves_again(
    stage: Stage, tmp_path: Path
) -> None:
    async with transfers(stage):
        acknowledged = list(stage.acknowledged)
        out, said = await run("create", "--keep", "3", "--json", stage=stage)
    made = json.loads(out)
    assert (made["state"], made["written"]) == ("complete", made["size"])
    assert "Backing up" in said
    live = await histories(stage.admin)
    check(live, stage.acknowledged, 0)
    folder = stage.backups / made["id"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "operator.key").write_text(stage.host.key)
    await run("restore", str(folder), "--data", str(tmp_path / "data"))
    shutil.copytree(stage.host.data / "compiled", tmp_path / "data" / "compiled")  # which saves compiling it again
    restored = HostProcess(tmp_path / "data", flags=["--workers", "2"])
    await asyncio.to_thread(restored.start)
    try:
        async with restored.admin() as admin:
            found = await histories(admin)
            check(found, acknowledged, CLIENTS)
            assert {name: items[: len(found[name])] for name, items in live.items()} == found
            site = Site(f"http://127.0.0.1:{restored.port}", stage.shipped)

            async def serves() -> bool:
                return (await site.post("/", content="[]")).status_code == 200

            await wait_until(serves, "what was deployed", DEADLINE_S)
            assert await transfer(site, *ACCOUNTS[:2], "after")
            await site.close()
            assert (await histories(admin))[ACCOUNTS[1]] == [*found[ACCOUNTS[1]], "+after"]
    finally:
        await asyncio.to_thread(restored.kill)


async def test_a_worker_that_is_killed_in_the_middle_costs_another_try_and_nothing_else(stage: Stage) -> None:
    async with transfers(stage):
        before = stage.host.workers()
        os.kill(before[1], signal.SIGSTOP)  # so that there is a middle
        begun = await stage.begin()
        refused = await stage.admin.http.post("/v1/backups", json={})
        assert refused.status_code == 409, refused.text
        assert [one["state"] for one in await stage.listed() if one["id"] == begun["id"]] == ["running"]
        os.kill(before[1], signal.SIGKILL)
        made = await stage.ended(begun["id"])
        assert made["state"] == "complete", made
        assert stage.host.workers()[1] != before[1]
    check(await histories(stage.admin), stage.acknowledged, stage.unknown)
    await asyncio.to_thread(verify, stage.backups / made["id"], lambda _count: None)


@pytest.mark.parametrize(
    ("victim", "stage_of_it"),
    [("a worker", "copied"), ("the control process", "copied"), ("the host", "written")],
)
async def test_a_kill_while_files_are_copied_or_written_leaves_no_half_backup_and_loses_nothing(
    stage: Stage, victim: str, stage_of_it: str
) -> None:
    host = stage.host
    shards = (host.data / "shards" / "000", host.data / "shards" / "001")
    copies = [shard / name for shard in shards for name in (COPY_FOLDER, COPY_FOLDER + ".tmp")]
    async with transfers(stage):
        pid = host.workers()[0]
        begun = await stage.begin()
        partial, complete = stage.backups / (begun["id"] + PARTIAL), stage.backups / begun["id"]
        if stage_of_it == "copied":
            await at_once(lambda: any(copy.exists() for copy in copies) or complete.exists(), "a copy")
        else:
            await at_once(lambda: partial.exists() or complete.exists(), "half a backup")
        if victim == "a worker":
            os.kill(pid, signal.SIGKILL)
            ended = await stage.ended(begun["id"])
            assert ended["state"] == "complete", ended
        else:
            await asyncio.to_thread(host.kill_control if victim == "the control process" else host.kill)
            await asyncio.to_thread(host.start)
        await wait_until(lambda: len(host.workers()) == 2, "both workers", DEADLINE_S)
        assert {one["state"] for one in await stage.listed()} <= {"complete", "failed"}
        assert not partial.exists()
        again = await stage.ended((await stage.begin())["id"])
        assert again["state"] == "complete", again
        await asyncio.to_thread(verify, stage.backups / again["id"], lambda _count: None)
        assert not any(copy.exists() for copy in copies)
        assert list((host.data / SNAPSHOTS_FOLDER).iterdir()) == []
    check(await histories(stage.admin), stage.acknowledged, stage.unknown)


async def test_the_actors_of_one_tenant_are_restored_while_the_host_serves(stage: Stage) -> None:
    before = await histories(stage.admin)
    made = await stage.ended((await stage.begin())["id"])
    async with transfers(stage):
        pass
    folder = str(stage.backups / made["id"])
    _, said = await run("restore", folder, "--tenant", "default", stage=stage, code=1)
    assert "are here already" in said
    out, _ = await run("restore", folder, "--tenant", "default", "--replace", "--json", stage=stage)
    assert json.loads(out) == {"tenant": "default", "imported": len(ACCOUNTS)}
    assert await histories(stage.admin) == before


async def test_backups_are_listed_and_deleted_from_the_command_line(stage: Stage) -> None:
    out, _ = await run("list", stage=stage)
    heading, *rows = out.splitlines()
    assert heading.split() == ["BACKUP", "CREATED", "STATE", "SIZE", "VERSION"]
    oldest = rows[0].split()[0]
    await run("delete", oldest, "--yes", stage=stage)
    assert oldest not in [one["id"] for one in await stage.listed()]
    assert not (stage.backups / oldest).exists()
