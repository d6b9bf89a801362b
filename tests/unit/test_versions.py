"""Versions after they are shipped: what is listed, what a rollback checks again, and that history is durable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.admin.services import AdminServices
from host.model.errors import Conflict, NotFound, Unavailable
from host.model.manifest import LIMIT_KEYS
from host.model.quotas import OF_FUNCTION, Quotas
from host.registry.deployments import HISTORY_MAX, history
from host.registry.records import DEFAULT_TENANT, FunctionRecord, Share, VersionRecord, decode, encode
from tests.unit.admin_kit import Api, app_of
from tests.unit.registry_kit import Host, bundle, component, manifest

KEPT = 3


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path, quotas=Quotas(versions=KEPT)).start()
    yield host
    await host.stop()


@pytest.fixture
async def account(host: Host) -> FunctionRecord:
    return await host.registry.create_function(DEFAULT_TENANT, "account")


@pytest.fixture
async def api(host: Host) -> Api:
    services = AdminServices(host.registry, host.publisher, url=lambda label: f"http://{label}", status=dict)
    return Api(app_of(services).test_client(), await host.registry.create_key("default", "ci", "tenant"))


async def ship(host: Host, function: FunctionRecord, *actors: str, note: str = "", ok: bool = True) -> VersionRecord:
    errors = () if ok else ("it does not start",)
    return await host.ship(function, manifest(*actors), component(*actors, note=note, errors=errors))


def serving(host: Host, function: FunctionRecord) -> int | None:
    version = host.registry.route(function.label)
    return None if version is None else version.number


async def test_versions_are_listed_newest_first_in_pages(host: Host, account: FunctionRecord, api: Api) -> None:
    for note in "123":
        await ship(host, account, note=note, ok=note != "2")
    page = await api.json("GET", "/functions/account/versions?limit=2")
    assert [(one["number"], one["status"], one["serving"]) for one in page["versions"]] == [
        (3, "deploy_ok", True),
        (2, "deploy_failed", False),
    ]
    assert list(page["versions"][0]) == ["number", "status", "created_at", "by", "digest", "size", "serving", "share"]
    page = await api.json("GET", f"/functions/account/versions?limit=2&cursor={page['next']}")
    assert [one["number"] for one in page["versions"]] == [1]
    assert page["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=", "cursor=-1", "cursor=%C2%B2"])
async def test_a_page_that_cannot_be_is_refused(account: FunctionRecord, api: Api, query: str) -> None:
    await api.refused("GET", f"/functions/account/versions?{query}", 400)


async def test_a_rollback_serves_at_once_and_is_written_down(host: Host, account: FunctionRecord, api: Api) -> None:
    await ship(host, account, note="1")
    host.clock.advance(60)
    await ship(host, account, note="2")
    host.clock.advance(60)
    reply = await api.json("POST", "/functions/account/deployments", 201, json={"version": 1})
    assert reply == {
        "version": 1,
        "split": [],
        "since": "2023-11-14T22:15:20.000Z",
        "until": None,
        "by": "ci",
        "serving": True,
        "warnings": [],
    }
    assert serving(host, account) == 1
    shown = (await api.json("GET", "/functions/account/deployments"))["deployments"]
    assert [(one["version"], one["by"], one["serving"]) for one in shown] == [
        (1, "ci", True),
        (2, "", False),
        (1, "", False),
    ]
    assert [one["until"] for one in shown] == [None, shown[0]["since"], shown[1]["since"]]
    await host.restart()
    assert serving(host, account) == 1
    assert [one.version for one in history(host.registry.function(DEFAULT_TENANT, "account"))] == [1, 2, 1]


async def test_a_ship_is_written_down_with_the_key_that_asked(host: Host, account: FunctionRecord, api: Api) -> None:
    await api.ship("account", bundle(manifest(), component()))
    await host.publisher.idle()
    (only,) = (await api.json("GET", "/functions/account/deployments"))["deployments"]
    assert (only["version"], only["by"], only["until"]) == (1, "ci", None)


async def test_a_version_that_serves_already_stays_as_it_is(host: Host, account: FunctionRecord) -> None:
    await ship(host, account)
    before = host.registry.route(account.label)
    host.clock.advance(60)
    deployed = await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert deployed.deployment == history(host.registry.function(DEFAULT_TENANT, "account"))[-1]
    assert host.registry.route(account.label) is before
    assert len(history(host.registry.function(DEFAULT_TENANT, "account"))) == 1


async def test_a_rollback_clears_the_errors_of_a_failed_ship(host: Host, account: FunctionRecord) -> None:
    for note in "12":
        await ship(host, account, note=note)
    await ship(host, account, note="3", ok=False)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    function = host.registry.function(DEFAULT_TENANT, "account")
    assert (function.status, function.errors, function.serving) == ("deploy_ok", (), 1)


async def test_what_cannot_be_deployed_is_refused_with_the_reason(
    host: Host, account: FunctionRecord, api: Api
) -> None:
    (error,) = await api.refused("POST", "/functions/account/deployments", 404, json={"version": 1})
    assert "nothing was shipped" in error["detail"]
    await ship(host, account, note="1")
    (error,) = await api.refused("POST", "/functions/account/deployments", 404, json={"version": 7})
    assert error["detail"].startswith("This function has no version 7. It has version 1 only;")
    await ship(host, account, note="2", ok=False)
    (error,) = await api.refused("POST", "/functions/account/deployments", 409, json={"version": 2})
    assert error["detail"] == "Version 2 failed and cannot be deployed. Ship a corrected one."
    (error,) = await api.refused("POST", "/functions/account/deployments", 404, json={"version": 10**9})
    assert "It has versions 1 to 2;" in error["detail"]
    (error,) = await api.refused("POST", "/functions/nothing/deployments", 404, json={"version": 1})
    assert "no function 'nothing'" in error["detail"]
    for body in ({}, {"version": "1"}, {"version": 0}, {"version": True}, {"version": 1.5}, {"versio": 1}):
        await api.refused("POST", "/functions/account/deployments", 400, json=body)
    assert serving(host, account) == 1


async def test_a_version_that_is_being_compiled_is_not_deployed_twice(host: Host, account: FunctionRecord) -> None:
    await ship(host, account, note="1")
    host.compiler.go.clear()
    shipping = asyncio.create_task(ship(host, account, note="2"))
    host.compiler.started.clear()
    await host.compiler.started.wait()
    with pytest.raises(Conflict, match="still being compiled"):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2)])
    host.compiler.go.set()
    assert (await shipping).status == "deploy_ok"


async def test_what_belongs_to_another_tenant_is_not_there(host: Host, account: FunctionRecord, api: Api) -> None:
    await ship(host, account)
    await host.registry.create_tenant("acme")
    acme = Api(api.client, await host.registry.create_key("acme", "ci", "tenant"))
    for ref in ("account", account.id):
        await acme.refused("GET", f"/functions/{ref}/versions", 404)
        await acme.refused("GET", f"/functions/{ref}/deployments", 404)
        await acme.refused("POST", f"/functions/{ref}/deployments", 404, json={"version": 1})


async def test_the_version_that_serves_is_never_pruned(host: Host, account: FunctionRecord) -> None:
    for note in "123":
        await ship(host, account, note=note)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    for note in "456":
        await ship(host, account, note=note, ok=False)
    assert [one.number for one in host.registry.versions(account.id)] == [1, 5, 6]
    assert serving(host, account) == 1
    with pytest.raises(NotFound, match="no version 2"):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2)])


async def test_a_version_whose_artifact_is_gone_is_compiled_again(host: Host, account: FunctionRecord) -> None:
    first = await ship(host, account, "Account", note="1")
    await ship(host, account, "Account", note="2")
    host.compiler.artifact_path(first.digest).unlink()
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert host.compiler.artifact_path(first.digest).exists()
    version = host.registry.route(account.label)
    assert version is not None
    assert (version.number, version.actor_types) == (1, ("Account",))


async def test_a_version_that_cannot_be_compiled_again_changes_nothing(host: Host, account: FunctionRecord) -> None:
    first = await ship(host, account, note="1")
    await ship(host, account, note="2")
    host.compiler.artifact_path(first.digest).unlink()
    host.compiler.failure = OSError("disk")
    with pytest.raises(Unavailable, match="no longer compiled on this host"):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert serving(host, account) == 2
    host.compiler.failure = None
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert serving(host, account) == 1


async def test_recompiling_waits_in_the_same_bounded_queue(host: Host, account: FunctionRecord) -> None:
    first = await ship(host, account, note="1")
    await ship(host, account, note="2")
    host.compiler.artifact_path(first.digest).unlink()
    host.compiler.go.clear()
    waiting = [asyncio.create_task(host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])) for _ in range(4)]
    refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [str(task.exception()) for task in refused] == ["3 versions wait to be compiled. Try again in a minute."]
    host.compiler.go.set()
    await asyncio.wait(waiting)
    assert serving(host, account) == 1


async def test_a_rollback_that_would_take_over_a_type_is_refused_naming_the_owner(
    host: Host, account: FunctionRecord
) -> None:
    bank = await host.registry.create_function(DEFAULT_TENANT, "bank")
    await ship(host, account, "Account", note="1")
    await ship(host, account, note="2")
    assert (await ship(host, bank, "Account")).status == "deploy_ok"
    with pytest.raises(Conflict, match="'Account' belongs to the function 'bank'"):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert serving(host, account) == 2
    owner = host.registry.owner(DEFAULT_TENANT, "Account")
    assert owner is not None
    assert owner.function_id == bank.id
    assert host.registry.version(account.id, 1).status == "deploy_ok"


async def test_a_rollback_that_drops_a_type_others_use_warns_and_names_them(
    host: Host, account: FunctionRecord
) -> None:
    report = await host.registry.create_function(DEFAULT_TENANT, "report")
    await ship(host, account, note="1")
    await ship(host, account, "Account", note="2")
    assert (await host.ship(report, manifest("Account"), component())).warnings == ()
    deployed = await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    (warning,) = deployed.warnings
    assert "'Account' was in the version before" in warning
    assert "The function 'report' uses it" in warning
    assert host.registry.owner(DEFAULT_TENANT, "Account") is None
    assert (await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2)])).warnings == ()
    assert host.registry.owner(DEFAULT_TENANT, "Account") is not None


async def test_history_is_bounded(host: Host, account: FunctionRecord) -> None:
    for note in "12":
        await ship(host, account, note=note)
    for turn in range(HISTORY_MAX):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1 + turn % 2)])
    past = history(host.registry.function(DEFAULT_TENANT, "account"))
    assert len(past) == HISTORY_MAX
    assert past[-1].version == serving(host, account) == 2


def test_a_function_stored_before_histories_has_its_present_deployment() -> None:
    function = FunctionRecord("id", "default", "account", "account-1", 1.0, serving=4, deployed_ms=2.0)
    old = re.sub(rb',"(history|split)":\[\]', b"", encode(function))
    assert b"history" not in old
    assert b"split" not in old
    (only,) = history(decode(FunctionRecord, old))
    assert (only.version, only.since_ms, only.by) == (4, 2.0, "")


SETTINGS = """
[env_vars]
GREETING = "hello"
[[secrets]]
binding = "STRIPE"
name = "stripe-key"
[limits]
request_ms = 5000
memory_mb = 64
requests_per_second = 20
outbound_per_minute = 60
[outbound]
allow = ["api.example.com", "*.example.org"]
[[domains]]
name = "shop.example.com"
"""


async def test_a_version_says_what_it_was_shipped_with_and_the_limits_that_count_for_it_now(
    host: Host, account: FunctionRecord, api: Api
) -> None:
    await host.registry.secrets.put(DEFAULT_TENANT, "stripe-key", "sk_live_1")
    await host.ship(account, manifest("Account") + SETTINGS, component("Account"))
    shown = await api.json("GET", "/functions/account/versions/1")
    assert shown["env_vars"] == {"GREETING": "hello"}
    assert shown["secrets"] == [{"binding": "STRIPE", "name": "stripe-key"}]
    assert shown["outbound"] == ["api.example.com", "*.example.org"]
    assert shown["domains"] == ["shop.example.com"]
    assert "sk_live_1" not in str(shown)
    limits = {one["name"]: (one["limit"], one["set"]) for one in shown["limits"]}
    assert list(limits) == [*LIMIT_KEYS, *OF_FUNCTION]
    assert (limits["request_ms"], limits["method_ms"]) == ((5_000, True), (30_000, False))
    assert (limits["memory_mb"], limits["activations"]) == ((64, True), (None, False))
    assert (limits["requests_per_second"], limits["outbound_per_minute"]) == ((20, True), (60, True))
    await host.registry.quotas.change(DEFAULT_TENANT, {"requests_per_second": 5, "memory_mb": 32})
    shown = await api.json("GET", "/functions/account/versions/1")
    limits = {one["name"]: (one["limit"], one["set"]) for one in shown["limits"]}
    assert (limits["requests_per_second"], limits["memory_mb"]) == ((5, False), (32, False))
