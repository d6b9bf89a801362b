"""Every route of the admin API x every key: what a scope may do, and that no tenant sees anything of another.

The matrix is made from the application's own routes. A new route fails here until `access` says what it needs and, if
it takes ids or a body, `IDS` and `BODIES` have some for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from host.admin.access import NEEDS, check_declared, methods_of
from host.admin.app import create_admin_app
from host.model.errors import NotFound
from host.model.ids import ActorId
from host.registry.domains import RECORD
from host.registry.records import DEFAULT_TENANT, Scope
from host.storage import keys
from host.storage.records import ActorRecord
from tests.unit.admin_kit import BACKUP, Api, api_of, services_of
from tests.unit.registry_kit import Host, bundle, component, manifest

CLAIMED = "shop.example.com"
LADDER: tuple[Scope, ...] = ("read", "deploy", "admin")
OWN = {"PUT /v1/secrets/<name>"}
"""Routes whose id is the caller's to choose: what another tenant calls so is not touched."""
EXPORT = "".join(
    json.dumps(line) + "\n"
    for line in (
        {"tenure_export": 1, "tenant": "acme"},
        {"actor": ["Account", "carol"], "created_ms": 1, "alarm_ms": None, "dead_alarm": None},
        {"key": "note", "value": "imported"},
        {"end": {"actors": 1, "keys": 1}},
    )
)
ALICE = {"type": "Account", "name": "alice"}
BODIES: dict[str, dict[str, Any]] = {
    "GET /v1/actor": {"query_string": ALICE},
    "DELETE /v1/actor": {"query_string": ALICE},
    "GET /v1/actor/keys": {"query_string": ALICE},
    "GET /v1/actor/key": {"query_string": {**ALICE, "key": "note"}},
    "PUT /v1/actor/key": {"query_string": {**ALICE, "key": "note"}, "json": "mine"},
    "DELETE /v1/actor/key": {"query_string": {**ALICE, "key": "note"}},
    "POST /v1/actor/invoke": {"query_string": ALICE, "json": {"method": "deposit", "args": [5]}},
    "POST /v1/actor/fetch": {"query_string": ALICE, "json": {"path": "/"}},
    "POST /v1/actors/import": {"data": EXPORT},
    "POST /v1/tenants/<tenant>/actors/import": {"data": EXPORT},
    "POST /v1/functions": {"json": {"name": "fresh"}},
    "POST /v1/functions/<ref>/versions": {"data": bundle(manifest("Account"), component("Account", note="2"))},
    "POST /v1/functions/<ref>/deployments": {"json": {"version": 1}},
    "POST /v1/functions/<ref>/versions/prune": {"json": {"keep": 0}},
    "PUT /v1/functions/<ref>/versions/rule": {"json": {"keep": 5}},
    "POST /v1/functions/<ref>/domains/verify": {"json": {"name": CLAIMED}},
    "PUT /v1/secrets/<name>": {"json": {"value": "mine"}},
    "POST /v1/alarms/retry": {"json": {"type": "Account", "name": "alice"}},
    "POST /v1/backups": {"json": {"keep": 1}},
    "POST /v1/keys": {"json": {"name": "fresh"}},
    "POST /v1/tenants": {"json": {"id": "fresh"}},
    "POST /v1/tenants/<tenant>/keys": {"json": {"name": "fresh"}},
    "PATCH /v1/tenants/<tenant>/quotas": {"json": {"functions": 5}},
}
NAMES_AN_ACTOR = {"POST /v1/alarms/retry", *(route for route, sent in BODIES.items() if "query_string" in sent)}


class Claimants:
    """DNS as it is when the name is every tenant's that claims it."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def txt(self, name: str) -> list[str]:
        texts = []
        for tenant in self._host.registry.accounts.tenants():
            with suppress(NotFound):
                texts.append(self._host.registry.domains.record(tenant.id, name.removeprefix(RECORD)).token)
        return texts


@dataclass(frozen=True)
class Owned:
    """What one tenant has."""

    tenant: str
    function_id: str
    key_id: str

    @property
    def ids(self) -> dict[str, str]:
        return {
            "ref": self.function_id,
            "int:number": "1",
            "name": f"{self.tenant}-secret",
            "key_id": self.key_id,
            "tenant": self.tenant,
            "backup_id": BACKUP,
        }

    def path(self, route: str) -> str:
        """The route's path with this tenant's ids in it."""
        return re.sub(r"<([^>]+)>", lambda found: self.ids[found[1]], route.split(" ")[1].removeprefix("/v1"))


async def furnish(host: Host, tenant: str) -> Owned:
    """A tenant with one of everything."""
    registry = host.registry
    if tenant != DEFAULT_TENANT:
        await registry.create_tenant(tenant)
    await registry.secrets.put(tenant, f"{tenant}-secret", f"value of {tenant}")
    function = await registry.create_function(tenant, f"{tenant}-account")
    claim = f'[[domains]]\nname = "{CLAIMED}"\n'
    await host.ship(function, manifest("Account", extra=claim), component("Account"))
    key = await registry.create_key(tenant, f"spare of {tenant}")
    dead = json.dumps({"due_ms": 1, "failed_ms": 2, "error": "ActorMethodError", "message": "no"}).encode()
    actor, note = ActorId(tenant, "Account", "alice"), json.dumps(f"note of {tenant}").encode()
    record = ActorRecord(bytes_used=4 + len(note), created_ms=1).encode()
    state = (keys.state_prefix(actor) + b"note", note)
    host.engine.write([(keys.dead_alarm_key(actor), dead), (keys.actor_key(actor), record), state])
    found = registry.accounts.find_key(key)
    assert found is not None
    return Owned(tenant, function.id, found.id)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    host.resolver = Claimants(host)
    await host.start()
    yield host
    await host.stop()


@pytest.fixture
async def acme(host: Host) -> Owned:
    return await furnish(host, "acme")


@pytest.fixture
async def api(host: Host) -> Api:
    return await api_of(host, "")


def stored(host: Host, tenant: str) -> dict[bytes, bytes]:
    """All that is kept of a tenant, but when its keys were used."""
    text = keys.tenant_key(tenant)[1:]
    return {key: value for key, value in host.engine.scan(b"", b"\xff") if key[1:].startswith(text)}


def expected_refusal(route: str, scope: Scope, operator: bool) -> bool:
    need = NEEDS[route]
    return (need.operator and not operator) or LADDER.index(scope) < LADDER.index(need.scope)


async def test_every_route_says_what_it_needs_and_nothing_else_is_said(host: Host) -> None:
    app = create_admin_app(services_of(host))
    routes = {f"{method} {rule.rule}" for rule in app.url_map.iter_rules() for method in methods_of(rule)}
    assert routes == set(NEEDS)


async def test_a_route_that_says_nothing_does_not_start(host: Host) -> None:
    app = create_admin_app(services_of(host))
    app.url_map.add(Rule("/v1/new", methods=["GET"], endpoint="new"))
    with pytest.raises(RuntimeError, match="GET /v1/new"):
        check_declared(app)


CALLERS = [(scope, operator) for scope in LADDER for operator in (False, True)]


@pytest.mark.parametrize("route", [route for route in NEEDS if any(expected_refusal(route, *one) for one in CALLERS)])
async def test_a_key_that_does_not_reach_so_far_is_refused_and_changes_nothing(
    host: Host, acme: Owned, api: Api, route: str
) -> None:
    for scope, operator in CALLERS:
        if expected_refusal(route, scope, operator):
            tenant, role = (DEFAULT_TENANT, "operator") if operator else ("acme", "tenant")
            key = await host.registry.create_key(tenant, f"a {scope} key", role, scope=scope)
            before = stored(host, acme.tenant)
            response = await api.with_key(key)(route.split(" ")[0], acme.path(route), **BODIES.get(route, {}))
            assert (response.status_code, stored(host, acme.tenant)) == (403, before), scope


@pytest.mark.parametrize(
    ("route", "scope", "operator"),
    [(route, *one) for route in NEEDS for one in CALLERS if not expected_refusal(route, *one)],
)
async def test_a_key_may_do_what_its_scope_reaches(
    host: Host, acme: Owned, api: Api, route: str, scope: Scope, operator: bool
) -> None:
    """On what is its own; for the operator's routes, on a tenant."""
    tenant = DEFAULT_TENANT if operator else "acme"
    mine = acme if not operator or NEEDS[route].operator else await furnish(host, DEFAULT_TENANT)
    key = await host.registry.create_key(tenant, "caller", "operator" if operator else "tenant", scope=scope)
    response = await api.with_key(key)(route.split(" ")[0], mine.path(route), **BODIES.get(route, {}))
    assert response.status_code in (200, 201, 202, 204), await response.get_data(as_text=True)


@pytest.mark.parametrize("route", NEEDS)
async def test_no_route_shows_or_changes_anything_of_another_tenant(
    host: Host, acme: Owned, api: Api, route: str
) -> None:
    for scope in LADDER:
        await host.registry.create_tenant(f"other-{scope}")
        key = await host.registry.create_key(f"other-{scope}", "caller", scope=scope)
        await shows_nothing(host, acme, api.with_key(key), route, scope)


async def shows_nothing(host: Host, acme: Owned, api: Api, route: str, scope: Scope) -> None:
    before, serves = stored(host, "acme"), host.registry.changes()
    method, path = route.split(" ")[0], acme.path(route)
    response = await api(method, path, **BODIES.get(route, {}))
    text = await response.get_data(as_text=True)
    if expected_refusal(route, scope, operator=False):
        assert response.status_code == 403
    elif ("<" in route and route not in OWN) or route in NAMES_AN_ACTOR:
        assert response.status_code == 404
        assert await unknown(api, method, acme, route) == text.replace(acme.function_id, "ID")
    else:
        assert response.status_code in (200, 201), text
        traces = {acme.function_id, acme.key_id, "of acme", "acme-account", "acme-secret", '"acme"', "alice"}
        assert [trace for trace in traces if trace in text] == (["acme-secret"] if route in OWN else [])
    assert stored(host, "acme") == before
    assert host.registry.changes() == serves


async def unknown(api: Api, method: str, owned: Owned, route: str) -> str:
    """What is said about ids that nobody has, with the same words in the place of ids."""
    nobody = Owned(owned.tenant, "0" * 36, "f" * 12)
    body = {**BODIES.get(route, {})}
    response = await api(method, nobody.path(route), **body)
    text = await response.get_data(as_text=True)
    return text.replace(nobody.function_id, "ID").replace(nobody.key_id, owned.key_id)


@pytest.mark.parametrize("route", NEEDS)
async def test_no_route_answers_a_key_that_is_none_of_a_live_tenant(
    host: Host, acme: Owned, api: Api, route: str
) -> None:
    accounts, method, path = host.registry.accounts, route.split(" ")[0], acme.path(route)

    async def status_of(key: str) -> int:
        return (await api.with_key(key)(method, path, **BODIES.get(route, {}))).status_code

    revoked = await accounts.create_key("acme", "revoked")
    record = accounts.find_key(revoked)
    assert record is not None
    await accounts.revoke_key("acme", record.id)
    expired = await accounts.create_key("acme", "short", expires_ms=host.clock.now() + 1_000)
    live = await accounts.create_key("acme", "live")
    host.clock.advance(1.0)
    assert [await status_of(key) for key in ("", "tnr_" + "a" * 43, revoked, expired)] == [401] * 4
    await host.registry.set_tenant_status("acme", "suspended")
    assert await status_of(live) == 403
    await host.registry.set_tenant_status("acme", "deleting")
    assert await status_of(live) == 401
