"""Pruning: which versions may go, that their files go with them, and that a host killed in between loses nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.admin.services import AdminServices
from host.model.errors import NotFound
from host.model.keep import Keep
from host.registry.components import OLD_ARTIFACT_S
from host.registry.deployments import HISTORY_MAX
from host.registry.pruning import DAY_MS, SETTLED_MS
from host.registry.records import DEFAULT_TENANT, FunctionRecord, Share, VersionRecord
from tests.unit.admin_kit import Api, app_of
from tests.unit.registry_kit import Host, bundle, component, manifest

LATER_S = (SETTLED_MS + 1) / 1000
NOTHING = Keep(versions=0, days=0)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path).start()
    yield host
    await host.stop()


@pytest.fixture
async def account(host: Host) -> FunctionRecord:
    return await host.registry.create_function(DEFAULT_TENANT, "account")


async def ship(host: Host, function: FunctionRecord, note: str, *, ok: bool = True) -> VersionRecord:
    errors = () if ok else ("it does not start",)
    version = await host.ship(function, manifest(), component(note=note, errors=errors))
    host.clock.advance(LATER_S)
    return version


async def prune(host: Host, keep: Keep = NOTHING) -> list[int]:
    return [one.number for one in (await host.publisher.prune(DEFAULT_TENANT, "account", keep)).gone]


def kept(host: Host, account: FunctionRecord) -> list[int]:
    return [one.number for one in host.registry.versions(account.id)]


def files(host: Host) -> tuple[set[str], set[str]]:
    """The digests that have a blob, and those that have an artifact."""
    return host.blobs.digests(), {path.stem for path in host.compiler.cache.glob("*.cwasm")}


async def test_what_serves_and_what_a_rollback_needs_stay_whatever_is_asked(
    host: Host, account: FunctionRecord
) -> None:
    for note in "12345":
        await ship(host, account, note)
    assert await prune(host) == [1, 2, 3]
    assert kept(host, account) == [4, 5]
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(4)])
    assert kept(host, account) == [4, 5]


async def test_all_versions_of_a_split_stay_and_those_of_the_split_before(host: Host, account: FunctionRecord) -> None:
    for note in "12345":
        await ship(host, account, note)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1, 90), Share(3, 10)])
    host.clock.advance(LATER_S)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(4)])
    host.clock.advance(LATER_S)
    assert await prune(host) == [2, 5]


async def test_what_served_a_moment_ago_stays_for_the_requests_it_still_has(
    host: Host, account: FunctionRecord
) -> None:
    for note in "123":
        await ship(host, account, note)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2)])
    assert await prune(host) == []  # 3 served until just now, 1 served before
    host.clock.advance(LATER_S)
    assert await prune(host) == [3]


async def test_the_newest_and_what_served_lately_stay(host: Host, account: FunctionRecord) -> None:
    for note in "1234":
        await ship(host, account, note)
    host.clock.advance(10 * DAY_MS / 1000)
    for note in "5678":
        await ship(host, account, note)
    host.clock.advance(DAY_MS / 1000)
    assert await prune(host, Keep(versions=6, days=30)) == []
    pruned = await host.publisher.prune(DEFAULT_TENANT, "account", Keep(versions=2, days=7), dry_run=True)
    assert {version.number: why for version, why in pruned.kept} == {
        4: "served within 7 days",  # until version 5 was shipped
        5: "served within 7 days",
        6: "served within 7 days",
        7: "served before: a rollback goes back to it",
        8: "serves",
    }
    assert await prune(host, Keep(versions=2, days=7)) == [1, 2, 3]


@pytest.mark.parametrize(("there", "keep"), [(3, 4), (5, 10), (8, 10), (4, 4)])
async def test_nothing_goes_while_there_are_no_more_than_are_to_stay(
    host: Host, account: FunctionRecord, there: int, keep: int
) -> None:
    for note in range(there):
        await ship(host, account, str(note))
    assert await prune(host, Keep(versions=keep, days=0)) == []


async def test_failed_versions_go_and_what_is_being_compiled_stays(host: Host, account: FunctionRecord) -> None:
    await ship(host, account, "1")
    await ship(host, account, "2", ok=False)
    host.compiler.go.clear()
    waiting = await host.begin(account, bundle(manifest(), component(note="3")))
    assert await prune(host) == [2]
    host.compiler.go.set()
    await host.publisher.idle()
    assert host.registry.version(account.id, waiting.number).status == "deploy_ok"


async def test_a_history_that_does_not_go_back_so_far_keeps_what_may_have_served(
    host: Host, account: FunctionRecord
) -> None:
    for note in "1234":
        await ship(host, account, note)
    for turn in range(HISTORY_MAX):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(3 + turn % 2)])
    assert await prune(host, Keep(versions=0, days=7)) == []
    host.clock.advance(8 * DAY_MS / 1000)
    assert await prune(host, Keep(versions=0, days=7)) == [1, 2]


async def test_files_go_with_the_last_version_that_has_them(host: Host, account: FunctionRecord) -> None:
    first = await ship(host, account, "same")
    for note in ("2", "same", "4", "5"):
        await ship(host, account, note)
    shop = await host.registry.create_function(DEFAULT_TENANT, "shop")
    await ship(host, shop, "same")
    second = host.registry.version(account.id, 2)
    dry = await host.publisher.prune(DEFAULT_TENANT, "account", NOTHING, dry_run=True)
    assert ([one.number for one in dry.gone], dry.freed) == ([1, 2, 3], second.size)
    assert kept(host, account) == [1, 2, 3, 4, 5]
    await prune(host)
    for found in files(host):
        assert first.digest in found
        assert second.digest not in found
    await host.publisher.delete_function(DEFAULT_TENANT, "shop")
    assert all(first.digest not in found for found in files(host))


async def test_a_ship_of_the_same_component_while_the_old_one_is_pruned_keeps_its_files(
    host: Host, account: FunctionRecord
) -> None:
    for note in ("same", "2", "3"):
        await ship(host, account, note)
    pruning = [asyncio.create_task(host.publisher.prune(DEFAULT_TENANT, "account", NOTHING)) for _ in range(3)]
    version = await ship(host, account, "same")
    assert sorted([len((await one).gone) for one in pruning]) == [0, 0, 1]
    assert version.status == "deploy_ok"
    assert all(version.digest in found for found in files(host))


async def test_a_version_that_is_pruned_while_it_is_compiled_again_leaves_no_files(
    host: Host, account: FunctionRecord
) -> None:
    first = await ship(host, account, "1")
    for note in "23":
        await ship(host, account, note)
    host.compiler.artifact_path(first.digest).unlink()
    host.compiler.started.clear()
    host.compiler.go.clear()
    deploying = asyncio.create_task(host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)]))
    await host.compiler.started.wait()
    assert await prune(host) == [1]
    host.compiler.go.set()
    with pytest.raises(NotFound, match="no version 1"):
        await deploying
    assert all(first.digest not in found for found in files(host))


@pytest.mark.parametrize("calls", range(1, 5))
async def test_a_host_that_is_killed_anywhere_in_a_prune_has_no_version_without_files_and_no_file_too_many(
    host: Host, account: FunctionRecord, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Files are removed one by one; the process ends before the first, the second, ... of them."""
    for note in "1234":
        await ship(host, account, note)
    unlink, left = Path.unlink, iter(range(1, calls))

    class Killed(BaseException):
        pass

    def dying(path: Path, *, missing_ok: bool = False) -> None:
        if next(left, None) is None:
            raise Killed
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dying)
        with pytest.raises(Killed):
            await host.publisher.prune(DEFAULT_TENANT, "account", NOTHING)
    await host.restart()
    assert kept(host, account) == [3, 4]
    wanted = {one.digest for one in host.registry.versions(account.id)}
    assert files(host) == (wanted, wanted)


async def test_artifacts_of_another_build_stay_for_a_while(host: Host, account: FunctionRecord) -> None:
    version = await ship(host, account, "1")
    old, fresh, mine = (host.compiler.cache / f"{name}.cwasm" for name in ("old", "fresh", version.digest))
    for path in (old, fresh):
        path.write_bytes(b"machine code")
    for path in (old, mine):
        os.utime(path, (time.time() - OLD_ARTIFACT_S - 60,) * 2)
    await host.restart()
    assert [path.exists() for path in (old, fresh, mine)] == [False, True, True]


async def test_pruning_over_the_api(host: Host, account: FunctionRecord) -> None:
    services = AdminServices(host.registry, host.publisher, url=lambda label: f"http://{label}", status=dict)
    api = Api(app_of(services).test_client(), await host.registry.create_key("default", "ci", "tenant"))
    for note in "123":
        await ship(host, account, note)
    path, rule = "/functions/account/versions/prune", {"keep": 0, "days": 0}
    size = host.registry.version(account.id, 1).size
    shown = await api.json("POST", path, json={**rule, "dry_run": True})
    assert shown["pruned"] == [
        {"number": 1, "status": "deploy_ok", "created_at": "2023-11-14T22:13:20.000Z", "size": size}
    ]
    assert shown["kept"] == [
        {"number": 2, "why": "served before: a rollback goes back to it"},
        {"number": 3, "why": "serves"},
    ]
    assert (shown["dry_run"], shown["freed"], kept(host, account)) == (True, size, [1, 2, 3])
    assert (await api.json("POST", path, json={}))["pruned"] == []
    assert (await api.json("POST", path, json=rule))["freed"] == size
    assert kept(host, account) == [2, 3]
    for wrong in ({"keep": -1}, {"keep": 1.5}, {"keep": True}, {"days": -1}, {"days": "7"}, {"dry_run": 1}, {"kep": 1}):
        await api.refused("POST", path, 400, json=wrong)
