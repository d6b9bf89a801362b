"""Tenants and keys: what a suspension and a deletion mean, and that neither a crash nor a restart undoes a step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.model.errors import Conflict, NotFound, Unavailable, UsageError
from host.registry.accounts import KEYS_MAX
from host.registry.auth import USE_WRITTEN_EVERY_MS
from host.registry.departures import Departures
from host.registry.records import DEFAULT_TENANT, ApiKeyRecord, FunctionRecord
from host.registry.registry import SUSPENDED
from host.storage import keys
from tests.kit.until import wait_until
from tests.unit.admin_kit import Api, api_of, services_of
from tests.unit.registry_kit import Host, component, manifest


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path).start()
    yield host
    await host.stop()


@pytest.fixture
async def operator(host: Host) -> Api:
    return await api_of(host, await host.registry.create_key(DEFAULT_TENANT, "operator", "operator"))


@pytest.fixture
async def acme(host: Host) -> FunctionRecord:
    """The function of a tenant that serves."""
    await host.registry.create_tenant("acme")
    await host.registry.secrets.put("acme", "stripe-key", "sk_live")
    function = await host.registry.create_function("acme", "account")
    await host.ship(function, manifest("Account"), component("Account"))
    return function


def record_of(host: Host, key: str) -> ApiKeyRecord:
    found = host.registry.accounts.find_key(key)
    assert found is not None
    return found


async def test_an_operator_makes_a_tenant_and_a_key_with_which_it_ships(host: Host, operator: Api) -> None:
    made = await operator.json("POST", "/tenants", 201, json={"id": "acme"})
    assert (made["id"], made["status"], made["functions"], made["keys"]) == ("acme", "active", 0, 0)
    body = {"name": "ci", "scope": "deploy", "expires_at": "2030-01-01T00:00:00Z"}
    key = await operator.json("POST", "/tenants/acme/keys", 201, json=body)
    assert (key["name"], key["scope"], key["expires_at"]) == ("ci", "deploy", "2030-01-01T00:00:00.000Z")
    theirs = operator.with_key(key["key"])
    await theirs.json("POST", "/functions", 201, json={"name": "account"})
    (listed,) = (await operator.json("GET", "/tenants/acme/keys"))["keys"]
    assert listed == {**{name: key[name] for name in key if name != "key"}, "last_used_at": listed["last_used_at"]}
    assert listed["last_used_at"] == "2023-11-14T22:13:20.000Z"
    assert [one["id"] for one in (await operator.json("GET", "/tenants"))["tenants"]] == ["acme", "default"]
    await operator.refused("POST", "/tenants", 409, json={"id": "acme"})
    await operator.refused("POST", "/tenants", 400, json={"id": "Acme!"})
    await operator.refused("GET", "/tenants/nobody/keys", 404)


async def test_a_suspended_tenant_has_nothing_that_serves_until_it_is_resumed(
    host: Host, operator: Api, acme: FunctionRecord
) -> None:
    registry = host.registry
    assert registry.route(acme.label) is not None
    shown = await operator.json("POST", "/tenants/acme/suspend")
    assert shown["status"] == "suspended"
    for _ in range(2):
        assert registry.route(acme.label) is None
        assert registry.owner("acme", "Account") is None
        assert registry.why_unavailable(acme.label) == SUSPENDED
        await host.restart()
        registry = host.registry
    assert await (await api_of(host, operator.key)).json("POST", "/tenants/acme/resume") != shown
    serving = registry.route(acme.label)
    assert serving is not None
    assert registry.owner("acme", "Account") is serving
    assert registry.why_unavailable(acme.label) is None


async def test_a_version_that_is_compiled_during_a_suspension_serves_after_it(host: Host, acme: FunctionRecord) -> None:
    await host.registry.set_tenant_status("acme", "suspended")
    version = await host.ship(acme, manifest("Account"), component("Account", note="2"))
    assert version.status == "deploy_ok"
    assert host.registry.route(acme.label) is None
    await host.registry.set_tenant_status("acme", "active")
    serving = host.registry.route(acme.label)
    assert serving is not None
    assert serving.number == 2


@pytest.mark.parametrize("step", ["suspend", "delete"])
async def test_the_operators_own_tenant_stays(operator: Api, step: str) -> None:
    method, path = ("DELETE", "/tenants/default") if step == "delete" else ("POST", "/tenants/default/suspend")
    (error,) = await operator.refused(method, path, 409)
    assert "operator's own" in error["detail"]


async def test_a_deleted_tenant_leaves_nothing_and_its_id_is_free(
    host: Host, operator: Api, acme: FunctionRecord
) -> None:
    key = await host.registry.create_key("acme", "ci")
    await operator.with_key(key).json("GET", "/whoami", headers={"idempotency-key": "a"})
    await operator.with_key(key).json("POST", "/functions", 201, json={"name": "b"}, headers={"idempotency-key": "a"})
    await operator.json("DELETE", "/tenants/acme", 204)
    text = keys.tenant_key("acme")[1:]
    assert [key for key, _ in host.engine.scan(b"", b"\xff") if key[1:].startswith(text)] == []
    assert (host.registry.digests(), host.blobs.digests()) == (set(), set())
    await operator.with_key(key).refused("GET", "/whoami", 401)
    await operator.refused("GET", "/tenants/acme", 404)
    await operator.json("POST", "/tenants", 201, json={"id": "acme"})
    assert (await operator.json("GET", "/tenants/acme"))["functions"] == 0


class FailingData:
    """The actors' data in a worker that is away for the first `failures` times that it is asked."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.erased: list[str] = []

    async def erase(self, tenant: str) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise Unavailable("A worker process of the host did not answer.")
        self.erased.append(tenant)


async def test_a_deletion_that_is_cut_off_is_finished_after_the_restart(host: Host, acme: FunctionRecord) -> None:
    departures = Departures(host.registry, host.publisher, FailingData(10))
    with pytest.raises(Unavailable):
        await departures.delete("acme")
    await departures.close()
    assert host.registry.route(acme.label) is None
    with pytest.raises(NotFound, match="being deleted"):
        await host.registry.create_key("acme", "late")
    with pytest.raises(Conflict, match="cannot be undone"):
        await host.registry.set_tenant_status("acme", "active")
    with pytest.raises(Conflict, match="being deleted"):
        await host.registry.create_tenant("acme")
    await host.restart()
    services = services_of(host)
    assert services.departures is not None
    services.departures.resume()
    await wait_until(lambda: len(host.registry.accounts.tenants()) == 1, "the tenant to go")
    assert host.registry.functions("acme") == []
    await services.departures.close()


async def test_a_deletion_is_tried_again_by_itself(
    host: Host, acme: FunctionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.registry.departures.RETRY_S", 0.001)
    data = FailingData(3)
    departures = Departures(host.registry, host.publisher, data)
    with pytest.raises(Unavailable):
        await departures.delete("acme")
    await wait_until(lambda: len(host.registry.accounts.tenants()) == 1, "the tenant to go")
    assert data.erased == ["acme"]
    await departures.close()


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_ends_when_it_expires(host: Host) -> None:
    key = await host.registry.create_key(DEFAULT_TENANT, "short", expires_ms=host.clock.now() + 5_000)
    host.clock.advance(4.999)
    assert host.registry.authenticate(key) is not None
    host.clock.advance(0.001)
    assert host.registry.authenticate(key) is None
    with pytest.raises(UsageError, match="future"):
        await host.registry.create_key(DEFAULT_TENANT, "late", expires_ms=host.clock.now())


async def test_a_revoked_key_stays_revoked_although_it_was_used_at_the_last_moment(host: Host) -> None:
    key = await host.registry.create_key(DEFAULT_TENANT, "ci")
    record = record_of(host, key)
    assert host.registry.authenticate(key) is not None
    await host.registry.accounts.revoke_key(DEFAULT_TENANT, record.id)
    assert host.registry.authenticate(key) is None
    await host.restart()
    assert host.registry.authenticate(key) is None
    with pytest.raises(NotFound):
        await host.registry.accounts.revoke_key(DEFAULT_TENANT, record.id)


async def test_the_last_key_of_the_operator_cannot_be_revoked(host: Host, operator: Api) -> None:
    (first,) = (await operator.json("GET", "/keys"))["keys"]
    for name, fields in (("reads", {"scope": "read"}), ("ends", {"expires_at": "2030-01-01T00:00:00Z"})):
        body = {"name": name, "role": "operator", **fields}
        await operator.json("POST", "/tenants/default/keys", 201, json=body)
        (error,) = await operator.refused("DELETE", f"/keys/{first['id']}", 409)
        assert "operator's last key" in error["detail"]
    body = {"name": "second", "role": "operator"}
    second = await operator.json("POST", "/tenants/default/keys", 201, json=body)
    await operator.json("DELETE", f"/keys/{first['id']}", 204)
    await operator.refused("GET", "/whoami", 401)
    assert (await operator.with_key(second["key"]).json("GET", "/whoami"))["role"] == "operator"


async def test_only_the_operators_tenant_has_operators(operator: Api, acme: FunctionRecord) -> None:
    await operator.refused("POST", "/tenants/acme/keys", 400, json={"name": "x", "role": "operator"})


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "two\nlines"},
        {"name": "x", "scope": "root"},
        {"name": "x", "scope": 7},
        {"name": "x", "expires_at": "soon"},
        {"name": "x", "expires_at": "2030-01-01T00:00:00"},
        {"name": "x", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "expires_at": 5},
        {"name": "x", "role": "operator"},
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(operator: Api, body: dict[str, object]) -> None:
    await operator.refused("POST", "/keys", 400, json=body)


async def test_names_of_keys_are_unique_in_a_tenant_and_there_are_not_too_many(host: Host) -> None:
    await host.registry.create_tenant("acme")
    for number in range(KEYS_MAX):
        await host.registry.create_key("acme", f"key {number}")
    with pytest.raises(Conflict, match="named 'key 0'"):
        await host.registry.create_key("acme", "key 0")
    with pytest.raises(UsageError, match="the most allowed"):
        await host.registry.create_key("acme", "one more")


async def test_the_last_use_of_a_key_is_written_rarely_and_survives_a_restart(host: Host) -> None:
    key = await host.registry.create_key(DEFAULT_TENANT, "ci")
    host.registry.authenticate(key)
    first = host.clock.now()
    written = host.committer.stats().commits
    for _ in range(100):
        host.clock.advance(1.0)
        host.registry.authenticate(key)
    assert host.registry.accounts.last_used_ms(record_of(host, key)) == host.clock.now()
    await host.registry.create_key(DEFAULT_TENANT, "other")  # its sync makes durable what was only noted
    assert host.committer.stats().commits <= written + 1
    await host.restart()
    assert host.registry.accounts.last_used_ms(record_of(host, key)) == first
    host.clock.advance(USE_WRITTEN_EVERY_MS / 1000)
    host.registry.authenticate(key)
    await host.registry.create_key(DEFAULT_TENANT, "third")
    await host.restart()
    assert host.registry.accounts.last_used_ms(record_of(host, key)) == host.clock.now()
