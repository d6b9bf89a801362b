"""Deploys under load, on a whole host: no request fails, no turn is split across versions, no deposit is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from host import server
from tests.conftest import SESSION, admin_of
from tests.kit.admin import Admin, Shipped
from tests.kit.bundles import bundle_of
from tests.kit.http import Site
from tests.kit.releases import CLIENTS, RELEASES, Load, project_of
from tests.kit.until import wait_until

pytestmark = SESSION

ACCOUNTS = ("alice", "bob", "carol")
ROUNDS = 6
ROLLBACK_S_MAX = 1.0


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("releases")
    return [project_of(release, folder) for release in RELEASES]


_tenants = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def admin(shared_host: server.Host) -> AsyncIterator[Admin]:
    """A tenant for each test."""
    tenant = f"deploys-{next(_tenants)}"
    await shared_host.control.registry.create_tenant(tenant)
    key = await shared_host.control.registry.create_key(tenant, "ci", "tenant")
    async with admin_of(shared_host, key) as client:
        yield client


class Function:
    """The guest, registered; `bundles` are its two releases, ready to ship."""

    def __init__(self, admin: Admin, shipped: Shipped, site: Site, bundles: list[bytes]) -> None:
        self.admin, self.id, self.name, self.site, self.bundles = admin, shipped.id, shipped.name, site, bundles

    async def rollback(self, number: int) -> None:
        reply = await self.admin.http.post(f"/v1/functions/{self.id}/deployments", json={"version": number})
        assert reply.status_code == 201, reply.text

    async def serving(self) -> int:
        return int((await self.admin.function(self.id))["version"])


@pytest_asyncio.fixture(loop_scope="session")
async def function(shared_host: server.Host, admin: Admin, projects: list[Path]) -> AsyncIterator[Function]:
    made = await admin.create("deploys")
    bundles = [await asyncio.to_thread(bundle_of, project, made["id"], made["name"]) for project in projects]
    shipped = Shipped(made["id"], made["name"], made["url"], await admin.deploy(made["id"], bundles[0]))
    site = Site(shared_host.control.listen_url, shipped.host)
    yield Function(admin, shipped, site, bundles)
    await site.close()


@pytest.mark.timeout(240)
async def test_no_request_fails_and_no_turn_is_split_while_ship_and_rollback_run_in_a_loop(function: Function) -> None:
    async with Load(function.site, ACCOUNTS) as load:
        for turn in range(ROUNDS):
            version = await function.admin.deploy(function.id, function.bundles[1 - turn % 2])
            before = sum(load.turns.values())
            await wait_until(lambda: sum(load.turns.values()) > before + CLIENTS, "turns on the new version")  # noqa: B023
            await function.rollback(version["number"] - 1)
            await function.rollback(version["number"])
            await function.rollback(version["number"] - 1)
            assert await function.serving() == version["number"] - 1
    assert load.wrong == []
    for seen in (load.turns, load.handlers):
        assert set(seen) == set(RELEASES), seen
    for account in ACCOUNTS:
        look = (await function.site.get(f"/{account}")).json()
        assert look["balance"] == load.acknowledged[account]
        assert look["began"] == look["ended"]


async def test_a_rollback_takes_well_under_a_second_and_is_served_at_once(function: Function) -> None:
    await function.admin.deploy(function.id, function.bundles[1])
    for number, release in ((1, "one"), (2, "two"), (1, "one")):
        began = time.monotonic()
        await function.rollback(number)
        assert time.monotonic() - began < ROLLBACK_S_MAX
        reply = (await function.site.post("/dave")).json()
        assert {*reply["handler"], *reply["seen"]} == {release}


async def test_a_turn_under_way_ends_on_its_version_and_the_next_begins_on_the_new_one(function: Function) -> None:
    await function.admin.deploy(function.id, function.bundles[1])
    turns = [asyncio.create_task(function.site.post("/erin")) for _ in range(40)]
    await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
    await function.rollback(1)
    seen = [(await turn).json()["seen"] for turn in turns]
    assert all(len(set(one)) == 1 for one in seen)
    assert (await function.site.get("/erin")).json()["balance"] == 40
    assert set((await function.site.post("/erin")).json()["seen"]) == {"one"}


async def test_the_command_line_lists_versions_and_rolls_back(function: Function, shared_host: server.Host) -> None:
    await function.admin.deploy(function.id, function.bundles[1])
    environ = {**os.environ, "TENURE_ENDPOINT": shared_host.control.admin_url, "PYTHONUTF8": "1"}
    environ["TENURE_API_KEY"] = function.admin.http.headers["authorization"].removeprefix("Bearer ")

    async def tenure(*arguments: str) -> tuple[int, str, str]:
        command = [str(Path(sys.executable).with_name("tenure")), *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=30, encoding="utf-8"
        )
        return done.returncode, done.stdout, done.stderr

    code, out, _ = await tenure("revisions", "list", "deploys")
    assert (code, [line.split()[:2] for line in out.splitlines()]) == (
        0,
        [["REV", "STATUS"], ["2", "serves"], ["1", "deploy_ok"]],
    )
    code, out, _ = await tenure("rollback", "deploys")
    assert (code, out) == (0, "✅ Version 1 of 'deploys' serves now.\n")
    assert await function.serving() == 1
    code, out, _ = await tenure("rollback", "deploys", "v1")
    assert (code, "serves already" in out) == (0, True)
    code, out, _ = await tenure("deployments", "deploys")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["REV", "1", "2", "1"])
    assert out.splitlines()[1].split()[2:] == ["serves", "ci"]
    code, _, _ = await tenure("rollback", "deploys")
    assert (code, await function.serving()) == (0, 2)
    code, out, err = await tenure("rollback", "deploys", "9")
    assert (code, out) == (1, "")
    assert "no version 9" in err
    assert "`tenure revisions list deploys`" in err
    assert (await tenure("rollback", "deploys", "latest"))[0] == 2
    for command in (["revisions", "list"], ["deployments"]):
        code, out, _ = await tenure(*command, "deploys", "--json")
        assert code == 0
        assert out.startswith("[")
