"""Idempotency-Key: a request is carried out once, its reply is kept for a day, and it opens to its sender only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.model.errors import Unavailable
from host.registry import replies
from host.registry.records import DEFAULT_TENANT
from host.storage import keys
from tests.unit.admin_kit import Api, api_of
from tests.unit.registry_kit import Host, bundle, component, manifest

ONCE = {"idempotency-key": "order 7"}


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path).start()
    yield host
    await host.stop()


@pytest.fixture
async def api(host: Host) -> Api:
    return await api_of(host, await host.registry.create_key(DEFAULT_TENANT, "operator", "operator"))


async def test_the_same_request_is_answered_alike_and_done_once(host: Host, api: Api) -> None:
    body = {"json": {"name": "account"}, "headers": ONCE}
    first = await api("POST", "/functions", **body)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
    for _ in range(2):
        again = await api("POST", "/functions", **body)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
        assert await again.get_data() == await first.get_data()
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        await host.restart()
        api = await api_of(host, api.key)
    assert len(host.registry.functions(DEFAULT_TENANT)) == 1


async def test_a_deletion_is_answered_alike(host: Host, api: Api) -> None:
    await api.json("POST", "/functions", 201, json={"name": "account"})
    for _ in range(2):
        response = await api("DELETE", "/functions/account", headers=ONCE)
        assert (response.status_code, await response.get_data()) == (204, b"")
    await api.refused("DELETE", "/functions/account", 404)


async def test_a_bundle_is_shipped_once(host: Host, api: Api) -> None:
    await api.json("POST", "/functions", 201, json={"name": "account"})
    data = bundle(manifest(), component())
    numbers = [
        (await api.json("POST", "/functions/account/versions", 202, data=data, headers=ONCE))["number"]
        for _ in range(2)
    ]
    assert numbers == [1, 1]
    other = bundle(manifest(), component(note="2"))
    await api.refused("POST", "/functions/account/versions", 422, data=other, headers=ONCE)
    await host.publisher.idle()
    assert len(host.registry.versions((await api.json("GET", "/functions/account"))["id"])) == 1
    assert host.work_files() == []


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("POST", "/functions", "other"), ("POST", "/functions?x=1", "account"), ("POST", "/keys", "account")],
)
async def test_another_request_with_the_same_key_is_refused(api: Api, method: str, path: str, name: str) -> None:
    await api.json("POST", "/functions", 201, json={"name": "account"}, headers=ONCE)
    (error,) = await api.refused(method, path, 422, json={"name": name}, headers=ONCE)
    assert error["code"] == "idempotency_key_reused"


async def test_keys_of_one_api_key_mean_nothing_to_another(host: Host, api: Api) -> None:
    await api.json("POST", "/functions", 201, json={"name": "account"}, headers=ONCE)
    other = api.with_key(await host.registry.create_key(DEFAULT_TENANT, "other"))
    await other.refused("POST", "/functions", 409, json={"name": "account"}, headers=ONCE)


async def test_a_refusal_is_kept_and_a_fault_of_the_host_is_not(
    host: Host, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.refused("POST", "/functions", 400, json={"name": "No"}, headers=ONCE)
    response = await api("POST", "/functions", json={"name": "No"}, headers=ONCE)
    assert (response.status_code, response.headers["idempotency-replayed"]) == (400, "true")

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("Not now.")

    later = {"idempotency-key": "later"}
    with monkeypatch.context() as patched:
        patched.setattr(host.registry, "create_function", fail)
        await api.refused("POST", "/functions", 503, json={"name": "account"}, headers=later)
    await api.json("POST", "/functions", 201, json={"name": "account"}, headers=later)


async def test_the_second_of_two_at_once_is_told_to_wait(host: Host, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    create = host.registry.accounts.create_tenant

    async def slow(tenant: str) -> object:
        begun.set()
        await go.wait()
        return await create(tenant)

    monkeypatch.setattr(host.registry.accounts, "create_tenant", slow)
    first = asyncio.create_task(api("POST", "/tenants", json={"id": "acme"}, headers=ONCE))
    await asyncio.wait_for(begun.wait(), 10)
    (error,) = await api.refused("POST", "/tenants", 409, json={"id": "acme"}, headers=ONCE)
    assert "being carried out" in error["detail"]
    go.set()
    assert (await first).status_code == 201
    await api.json("POST", "/tenants", 201, json={"id": "acme"}, headers=ONCE)


async def test_after_a_crash_in_the_middle_nobody_pretends_to_know(host: Host, api: Api) -> None:
    kept = host.registry.replies
    claim = await kept.claim(DEFAULT_TENANT, api.key, "order 7", b"POST /v1/functions?", b'{"name": "account"}')
    assert isinstance(claim, replies.Claim)
    await host.restart()
    api = await api_of(host, api.key)
    (error,) = await api.refused("POST", "/functions", 409, data=b'{"name": "account"}', headers=ONCE)
    assert "may or may not" in error["detail"]
    assert host.registry.functions(DEFAULT_TENANT) == []


async def test_a_reply_is_kept_for_a_day(host: Host, api: Api) -> None:
    await api.json("POST", "/functions", 201, json={"name": "account"}, headers=ONCE)
    host.clock.advance(86_399)
    await api.json("POST", "/functions", 201, json={"name": "account"}, headers=ONCE)
    host.clock.advance(1)
    await api.refused("POST", "/functions", 409, json={"name": "account"}, headers=ONCE)
    assert len(host.engine.scan(*keys.KEPT_REPLIES)) == 1, "what expired is removed"


async def test_a_key_that_is_shown_once_is_not_kept_in_the_open(host: Host, api: Api) -> None:
    made = await api.json("POST", "/keys", 201, json={"name": "ci"}, headers=ONCE)
    again = await api.json("POST", "/keys", 201, json={"name": "ci"}, headers=ONCE)
    assert again["key"] == made["key"]
    stored = [value for _, value in host.engine.scan(b"", b"\xff")]
    assert not any(made["key"].encode() in value or api.key.encode() in value for value in stored)
    assert not any(b"order 7" in value for value in stored)


async def test_a_tenant_keeps_a_bounded_number(host: Host, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_MAX", 2)
    for number in range(2):
        await api.json("DELETE", "/functions/x", 404, headers={"idempotency-key": f"k{number}"})
    await api.refused("DELETE", "/functions/x", 400, headers={"idempotency-key": "k2"})
    host.clock.advance(86_400)
    await api.refused("DELETE", "/functions/x", 404, headers={"idempotency-key": "k2"})


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9"])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    await api.refused("POST", "/functions", 400, json={"name": "a"}, headers={"idempotency-key": key})


async def test_reading_takes_no_notice_of_it(host: Host, api: Api) -> None:
    await api.json("GET", "/functions", headers=ONCE)
    assert host.engine.scan(*keys.KEPT_REPLIES) == []


async def test_every_list_comes_in_pages(host: Host, api: Api) -> None:
    """Each list, walked one entry at a time, is the list."""
    registry = host.registry
    for name in ("a", "b", "c"):
        await api.json("POST", "/functions", 201, json={"name": name})
        await api.json("POST", "/tenants", 201, json={"id": f"tenant-{name}"})
        await api.json("PUT", f"/secrets/{name}", json={"value": "x"})
        await api.json("POST", "/keys", 201, json={"name": name})
        await registry.create_key("tenant-a", name)
        await host.ship(registry.function(DEFAULT_TENANT, "a"), manifest(), component(note=name))
        host.clock.advance(1.0)
    for path, field in (
        ("/functions", "functions"),
        ("/functions/a/versions", "versions"),
        ("/functions/a/deployments", "deployments"),
        ("/tenants", "tenants"),
        ("/tenants/tenant-a/keys", "keys"),
        ("/secrets", "secrets"),
        ("/keys", "keys"),
    ):
        whole = await api.json("GET", path)
        assert whole["next"] is None
        assert len(whole[field]) >= 3
        walked, cursor = [], ""
        for _ in range(len(whole[field])):
            page = await api.json("GET", f"{path}?limit=1&cursor={cursor}")
            walked += page[field]
            cursor = page["next"]
        assert (walked, cursor) == (whole[field], None)
        for query in ("limit=0", "limit=501", "limit=x", "cursor=x", "cursor=%00", "cursor=W10x", "cursor=bnVsbA"):
            await api.refused("GET", f"{path}?{query}", 400)
        foreign = "W1tdXQ"  # [[]]
        await api.refused("GET", f"{path}?cursor={foreign}", 400)
