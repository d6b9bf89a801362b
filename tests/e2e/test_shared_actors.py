"""Shared actors on a whole host: one function owns the type, others of the tenant reach the same actors."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from host import server
from tests.conftest import GUESTS, SESSION, admin_of
from tests.kit.admin import Admin, ShipFailed, Shipped
from tests.kit.bundles import bundle_of
from tests.kit.http import Site

pytestmark = SESSION

OWNER, USER = GUESTS / "deploys", GUESTS / "report"


class Tenant:
    """A tenant with nothing shipped."""

    def __init__(self, host: server.Host, admin: Admin) -> None:
        self._host = host
        self.admin = admin
        self.sites: list[Site] = []

    def site(self, shipped: Shipped) -> Site:
        self.sites.append(Site(self._host.control.listen_url, shipped.host))
        return self.sites[-1]


_numbers = itertools.count(1)


@asynccontextmanager
async def new_tenant(host: server.Host) -> AsyncIterator[Tenant]:
    name = f"sharing-{next(_numbers)}"
    await host.control.registry.create_tenant(name)
    async with admin_of(host, await host.control.registry.create_key(name, "ci", "tenant")) as admin:
        tenant = Tenant(host, admin)
        yield tenant
        for site in tenant.sites:
            await site.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(shared_host: server.Host) -> AsyncIterator[Tenant]:
    async with new_tenant(shared_host) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(shared_host: server.Host) -> AsyncIterator[Tenant]:
    async with new_tenant(shared_host) as made:
        yield made


async def _not_found(site: Site) -> None:
    reply = await site.post("/alice")
    assert (reply.status_code, reply.json()["name"]) == (500, "ActorTypeNotFoundError")
    assert "Ledger" in reply.json()["message"]


async def test_a_function_without_the_class_reaches_the_owners_actors(tenant: Tenant) -> None:
    owner, user = await tenant.admin.ship(OWNER), await tenant.admin.ship(USER)
    assert (owner.version["actor_types"], user.version["actor_types"]) == (["Ledger"], [])
    assert (owner.version["warnings"], user.version["warnings"]) == ([], [])
    through_owner, through_user = tenant.site(owner), tenant.site(user)
    assert (await through_owner.post("/alice")).json()["balance"] == 1
    turn = (await through_user.post("/alice")).json()
    assert turn["balance"] == 2
    assert set(turn["seen"]) == {"one"}  # the actor's env is its owner's: the user's manifest has no RELEASE
    assert (await through_owner.get("/alice")).json()["balance"] == 2
    assert (await through_user.get("/bob")).json()["balance"] == 0


async def test_a_second_owner_is_refused_at_ship_time_naming_the_first(tenant: Tenant) -> None:
    first = tenant.site(await tenant.admin.ship(OWNER))
    await first.post("/alice")
    second = await tenant.admin.create("usurper")
    with pytest.raises(ShipFailed) as refused:
        await tenant.admin.deploy("usurper", bundle_of(OWNER, second["id"], "usurper"))
    (error,) = refused.value.version["errors"]
    assert "'Ledger' belongs to the function 'deploys'" in error
    assert (await tenant.admin.function("usurper"))["status"] == "deploy_failed"
    assert (await first.post("/alice")).json()["balance"] == 2


async def test_a_reference_without_an_owner_ships_with_a_warning_and_works_once_there_is_one(tenant: Tenant) -> None:
    user = await tenant.admin.ship(USER)
    (warning,) = user.version["warnings"]
    assert "No function has the actor type 'Ledger' yet" in warning
    site = tenant.site(user)
    await _not_found(site)
    await tenant.admin.ship(OWNER)
    assert (await site.post("/alice")).json()["balance"] == 1


async def test_when_the_owner_is_deleted_calls_fail_and_a_new_owner_finds_the_state(tenant: Tenant) -> None:
    owner, user = await tenant.admin.ship(OWNER), await tenant.admin.ship(USER)
    site = tenant.site(user)
    assert (await site.post("/alice")).json()["balance"] == 1
    await tenant.admin.delete(owner.id)
    await _not_found(site)
    await tenant.admin.ship(OWNER, name="heir")
    assert (await site.post("/alice")).json()["balance"] == 2


async def test_a_rollback_of_the_owner_to_a_version_without_the_class_warns_and_calls_fail(tenant: Tenant) -> None:
    made = await tenant.admin.create("deploys")
    await tenant.admin.deploy(made["id"], bundle_of(USER, made["id"], made["name"]))
    await tenant.admin.deploy(made["id"], bundle_of(OWNER, made["id"], made["name"]))
    site = tenant.site(await tenant.admin.ship(USER))
    assert (await site.post("/alice")).json()["balance"] == 1

    async def deploy(version: int) -> list[str]:
        reply = await tenant.admin.http.post("/v1/functions/deploys/deployments", json={"version": version})
        assert reply.status_code == 201
        return list(reply.json()["warnings"])

    warnings = await deploy(1)
    assert any("The function 'report' uses it" in warning for warning in warnings)
    await _not_found(site)
    await tenant.admin.ship(OWNER, name="heir")
    reply = await tenant.admin.http.post("/v1/functions/deploys/deployments", json={"version": 2})
    assert reply.status_code == 409
    assert "belongs to the function 'heir'" in reply.json()["errors"][0]["detail"]
    assert (await site.post("/alice")).json()["balance"] == 2


async def test_a_type_is_shared_within_a_tenant_only(tenant: Tenant, stranger: Tenant) -> None:
    mine = tenant.site(await tenant.admin.ship(OWNER))
    await mine.post("/alice")
    theirs = stranger.site(await stranger.admin.ship(USER))
    await _not_found(theirs)
    await stranger.admin.ship(OWNER)
    assert (await theirs.post("/alice")).json()["balance"] == 1
    assert (await mine.get("/alice")).json()["balance"] == 1
