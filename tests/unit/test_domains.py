"""Host names of a function's own: claimed by a manifest, shown to be the tenant's by DNS, nobody else's to take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host import dns
from host.admin.services import AdminServices
from host.model.errors import Conflict, ManifestError, NotFound, Unavailable
from host.model.manifest import DOMAINS_MAX, manifest_from_json, manifest_to_json, parse_manifest
from host.registry import feed
from host.registry.departures import Departures
from host.registry.domains import RECORD
from host.registry.records import DEFAULT_TENANT, FunctionRecord, Share, VersionRecord
from host.registry.serving import Serving
from tests.kit.dns import Records, dns_server
from tests.unit.admin_kit import Api, app_of
from tests.unit.registry_kit import HEAD, Host, bundle, component, manifest

SHOP, WWW = "shop.example.com", "www.example.org"


def claims(*names: str) -> str:
    return manifest(extra="".join(f'[[domains]]\nname = "{name}"\n' for name in names))


@pytest.fixture
async def records() -> AsyncIterator[Records]:
    async with dns_server() as records:
        yield records


@pytest.fixture
async def host(tmp_path: Path, records: Records) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    host.resolver = dns.Resolver(records.address)
    await host.start()
    await host.registry.create_tenant("acme")
    yield host
    await host.stop()


@pytest.fixture
async def shop(host: Host) -> FunctionRecord:
    return await host.registry.create_function(DEFAULT_TENANT, "shop")


@pytest.fixture
async def rival(host: Host) -> FunctionRecord:
    return await host.registry.create_function("acme", "shop")


async def ship(host: Host, function: FunctionRecord, *names: str, note: str = "") -> VersionRecord:
    version = await host.ship(function, claims(*names), component(note=note))
    assert version.status == "deploy_ok", version.errors
    return version


def token(host: Host, tenant: str = DEFAULT_TENANT, name: str = SHOP) -> str:
    return host.registry.domains.record(tenant, name).token


def leads_to(host: Host, name: str = SHOP) -> str | None:
    """The label, which a replica agrees on."""
    replica = Serving()
    replica.become(feed.decode(feed.encode(host.registry.changes())))
    assert replica.domain(name) == host.registry.domain(name)
    return host.registry.domain(name)


async def verify(host: Host, records: Records, *tenants: str, name: str = SHOP) -> None:
    """The name's owner gives the record the tokens of these tenants; the first one asks."""
    records.texts[RECORD + name] = ["v=other", *(token(host, tenant, name) for tenant in tenants)]
    await host.registry.domains.verify(tenants[0], name)


# --- the manifest -----------------------------------------------------------------------------------------------------


def test_domains_are_read_in_lower_case_and_stored_as_they_are() -> None:
    read, warnings = parse_manifest(claims("Shop.Example.COM.", "xn--bcher-kva.example"))
    assert (read.domains, warnings) == ((SHOP, "xn--bcher-kva.example"), ())
    assert manifest_from_json(manifest_to_json(read)) == read


@pytest.mark.parametrize(
    "wrong",
    ["shop", "*.example.com", "https://a.example", "a.example:80", "a b.example", "bücher.example", "10.0.0.1"],
)
def test_what_is_no_host_name_is_refused(wrong: str) -> None:
    with pytest.raises(ManifestError, match=r"\[\[domains\]\] entry 1 name"):
        parse_manifest(claims(wrong))


def test_a_name_is_claimed_once_and_not_too_many_are() -> None:
    with pytest.raises(ManifestError, match="is there twice"):
        parse_manifest(claims(SHOP, SHOP.upper()))
    with pytest.raises(ManifestError, match=f"at most {DOMAINS_MAX}"):
        parse_manifest(claims(*(f"s{number}.example" for number in range(DOMAINS_MAX + 1))))
    assert parse_manifest(HEAD)[0].domains == ()


# --- claiming and verifying -------------------------------------------------------------------------------------------


async def test_a_claimed_name_leads_nowhere_until_dns_shows_whose_it_is(
    host: Host, shop: FunctionRecord, records: Records
) -> None:
    await ship(host, shop, SHOP, WWW)
    assert leads_to(host) is None
    for texts in (None, [], ["v=spf1 -all", token(host, name=WWW), token(host)[:-1]]):
        records.texts = {} if texts is None else {RECORD + SHOP: texts}
        with pytest.raises(Conflict, match="DNS has no TXT record at _tenure"):
            await host.registry.domains.verify(DEFAULT_TENANT, SHOP)
    assert leads_to(host) is None
    await verify(host, records, DEFAULT_TENANT)
    assert (leads_to(host), leads_to(host, WWW)) == (shop.label, None)
    await host.restart()
    assert (leads_to(host), leads_to(host, WWW)) == (shop.label, None)


async def test_a_name_follows_the_manifest_and_stays_verified(
    host: Host, shop: FunctionRecord, records: Records
) -> None:
    await ship(host, shop, SHOP)
    await verify(host, records, DEFAULT_TENANT)
    await ship(host, shop, note="2")
    assert leads_to(host) is None
    other = await host.registry.create_function(DEFAULT_TENANT, "other")
    await ship(host, other, SHOP, note="3")
    assert leads_to(host) == other.label
    with pytest.raises(Conflict, match="The function 'other' claims"):
        await host.publisher.deploy(DEFAULT_TENANT, "shop", [Share(1)])
    assert leads_to(host) == other.label
    await host.publisher.delete_function(DEFAULT_TENANT, "other")
    assert leads_to(host) is None
    await host.publisher.deploy(DEFAULT_TENANT, "shop", [Share(1, 1), Share(2, 99)])
    assert leads_to(host) == shop.label


async def test_another_tenant_cannot_take_a_name_and_waiting_for_it_blocks_nobody(
    host: Host, shop: FunctionRecord, rival: FunctionRecord, records: Records
) -> None:
    await ship(host, rival, SHOP)
    await ship(host, shop, SHOP, note="2")
    assert token(host) != token(host, "acme")
    await verify(host, records, DEFAULT_TENANT)
    assert leads_to(host) == shop.label
    with pytest.raises(Conflict, match="DNS has no TXT record"):
        await host.registry.domains.verify("acme", SHOP)
    with pytest.raises(Conflict, match="is verified for another tenant") as refused:
        await verify(host, records, "acme", DEFAULT_TENANT)
    assert DEFAULT_TENANT not in str(refused.value)
    assert leads_to(host) == shop.label


async def test_a_name_goes_to_whom_dns_gives_it(
    host: Host, shop: FunctionRecord, rival: FunctionRecord, records: Records
) -> None:
    await ship(host, shop, SHOP)
    await ship(host, rival, SHOP, note="2")
    await verify(host, records, DEFAULT_TENANT)
    await verify(host, records, "acme")
    assert leads_to(host) == rival.label
    assert host.registry.domains.record(DEFAULT_TENANT, SHOP).verified_ms is None
    await host.restart()
    assert leads_to(host) == rival.label


async def test_a_dns_that_does_not_answer_changes_nothing(
    host: Host, shop: FunctionRecord, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "ANSWER_S", 0.2)
    await ship(host, shop, SHOP)
    await verify(host, records, DEFAULT_TENANT)
    for trouble in ("silent", "fails"):
        setattr(records, trouble, True)
        with pytest.raises(Unavailable, match="DNS did not answer"):
            await host.registry.domains.verify(DEFAULT_TENANT, SHOP)
    assert leads_to(host) == shop.label


async def test_a_record_in_several_pieces_is_one_text(host: Host, records: Records) -> None:
    records.texts["long.example"] = ["x" * 600]
    assert await dns.Resolver(records.address).txt("long.example") == ["x" * 600]


@pytest.mark.parametrize("name", ["localhost.localdomain.localhost", "shop-0123456789.localhost"])
async def test_the_hosts_own_names_are_not_claimed(host: Host, shop: FunctionRecord, name: str) -> None:
    version = await host.ship(shop, claims(name), component())
    assert version.status == "deploy_failed"
    assert "belongs to this host" in version.errors[0]


async def test_a_pending_claim_that_nobody_makes_any_more_is_forgotten(host: Host, shop: FunctionRecord) -> None:
    await ship(host, shop, SHOP)
    before = token(host)
    await ship(host, shop, note="2")
    with pytest.raises(NotFound, match="does not claim"):
        token(host)
    await ship(host, shop, SHOP, note="3")
    assert token(host) != before


async def test_a_suspended_tenants_name_says_why_and_a_deleted_ones_is_free(
    host: Host, shop: FunctionRecord, rival: FunctionRecord, records: Records
) -> None:
    await ship(host, rival, SHOP)
    await verify(host, records, "acme")
    await host.registry.set_tenant_status("acme", "suspended")
    assert leads_to(host) == rival.label
    assert "suspended" in (host.registry.why_unavailable(rival.label) or "")

    class NoActors:
        async def erase(self, tenant: str) -> None:
            pass

    await Departures(host.registry, host.publisher, NoActors()).delete("acme")
    assert leads_to(host) is None
    await ship(host, shop, SHOP, note="2")
    await verify(host, records, DEFAULT_TENANT)
    await host.restart()
    assert leads_to(host) == shop.label


# --- the API ----------------------------------------------------------------------------------------------------------


async def test_names_are_listed_and_verified_over_the_api(host: Host, shop: FunctionRecord, records: Records) -> None:
    services = AdminServices(host.registry, host.publisher, url=lambda label: f"http://{label}", status=dict)
    app = app_of(services)
    api = Api(app.test_client(), await host.registry.create_key(DEFAULT_TENANT, "ci", "tenant"))
    acme = Api(app.test_client(), await host.registry.create_key("acme", "ci", "tenant"))
    await api.ship("shop", bundle(claims(WWW, SHOP), component()))
    await host.publisher.idle()
    listed = (await api.json("GET", "/functions/shop/domains?limit=1"))["domains"]
    assert listed == [
        {
            "name": SHOP,
            "verified": False,
            "record": {"name": "_tenure.shop.example.com", "type": "TXT", "value": token(host)},
            "claimed_at": "2023-11-14T22:13:20.000Z",
            "verified_at": None,
        }
    ]
    path = "/functions/shop/domains/verify"
    (error,) = await api.refused("POST", path, 409, json={"name": SHOP})
    assert token(host) in error["detail"]
    records.texts[RECORD + SHOP] = [token(host)]
    shown = await api.json("POST", path, json={"name": "Shop.Example.com."})
    assert (shown["name"], shown["verified"]) == (SHOP, True)
    assert [one["verified"] for one in (await api.json("GET", "/functions/shop/domains"))["domains"]] == [True, False]
    await api.refused("POST", path, 404, json={"name": "other.example.com"})
    await api.refused("POST", path, 400, json={})
    await acme.refused("GET", f"/functions/{shop.id}/domains", 404)
    await acme.refused("POST", f"/functions/{shop.id}/domains/verify", 404, json={"name": SHOP})
