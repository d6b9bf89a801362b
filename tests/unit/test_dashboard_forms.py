"""What is done on the dashboard's pages, without a browser: asked first, done as said, mistakes told in place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest

from host.registry.domains import RECORD
from host.registry.records import DEFAULT_TENANT, FunctionRecord
from tests.unit.admin_kit import BACKUP
from tests.unit.registry_kit import Host, component, manifest
from tests.unit.test_dashboard_pages import EVIL, Visitor, everything, visitor_with

PEM = "-----BEGIN KEY-----\nc2VjcmV0\n-----END KEY-----\n"
NAME = "shop.example.com"
SETTINGS = f"""
[env_vars]
GREETING = '''hello {EVIL}
you'''
[[secrets]]
binding = "STRIPE"
name = "stripe-key"
[limits]
request_ms = 5000
requests_per_second = 20
[outbound]
allow = ["*.example.org"]
[[domains]]
name = "{NAME}"
"""


class Dns:
    """What DNS says of every name."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def txt(self, name: str) -> list[str]:
        assert name == RECORD + NAME
        return self.texts


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
async def host(tmp_path: Path, dns: Dns) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    host.resolver = dns
    await host.start()
    await host.registry.create_tenant("acme")
    yield host
    await host.stop()


@pytest.fixture
async def shop(host: Host) -> FunctionRecord:
    """A function of acme with three versions, of which the third serves."""
    function = await host.registry.create_function("acme", "shop")
    for note in "123":
        await host.ship(function, manifest("Account") + SETTINGS, component("Account", note=note))
    return function


async def text_of(visitor: Visitor, path: str, status: int, **form: str) -> str:
    """The page that a form is answered with, without its escapes."""
    response = await visitor.post(path, **form)
    text = await response.get_data(as_text=True)
    assert response.status_code == status, text
    return unescape(text)


async def test_a_split_is_asked_with_what_each_version_gets_and_ends_with_one_of_them(
    host: Host, shop: FunctionRecord
) -> None:
    visitor = await visitor_with(host, scope="deploy")
    before, weights = everything(host), {"weight-3": "90", "weight-2": "30", "weight-1": ""}
    asked = await text_of(visitor, "/functions/shop/split", 200, **weights)
    assert "Split what comes to shop: version 3 gets 75 %, version 2 gets 25 %?" in asked
    assert all(f'name="{name}" value="{weight}"' in asked for name, weight in weights.items())
    assert everything(host) == before
    assert (await visitor.post("/functions/shop/split", confirmed="yes", **weights)).status_code == 303
    page = await visitor.get("/functions/shop/versions")
    assert "Versions 2, 3 of shop serve now." in page
    assert page.count(">Serve alone</button>") == 2
    assert page.count(">Roll back</button>") == 1
    assert "75.0 %" in page
    asked = await text_of(visitor, "/functions/shop/versions/2/deploy", 200)
    assert "End the split of shop and let version 2 serve alone?" in asked
    assert (await visitor.post("/functions/shop/versions/2/deploy", confirmed="yes")).status_code == 303
    function = host.registry.function("acme", "shop")
    assert (function.serving, function.split) == (2, ())


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"weight-1": "", "weight-2": "0"}, "Give at least one version a weight."),
        ({"weight-1": "half", "weight-2": "1"}, "A weight is a whole number"),
        ({"weight-1": EVIL, "weight-2": "1"}, "A weight is a whole number"),
        ({f"weight-{EVIL}": "1"}, "A weight is a whole number"),
        ({"weight-1": "1", "weight-2": "10001"}, "A weight is a whole number from 1 to 10,000."),
        ({"weight-1": "1", "weight-9": "1"}, "no version 9"),
    ],
)
async def test_a_split_that_cannot_be_is_told_beside_what_was_written(
    host: Host, shop: FunctionRecord, weights: dict[str, str], sentence: str
) -> None:
    visitor = await visitor_with(host)
    before = everything(host)
    response = await visitor.post("/functions/shop/split", confirmed="yes", **weights)
    text = await response.get_data(as_text=True)
    assert response.status_code in (400, 404), text
    assert sentence in text.split('role="alert"')[1].split("</div>")[0]
    assert "<script>" not in text
    shown = unescape(text)
    assert all(f'name="{name}" value="{weight}"' in shown for name, weight in weights.items())
    assert everything(host) == before


async def test_old_versions_go_after_a_yes_and_the_page_says_why_others_stay(host: Host, shop: FunctionRecord) -> None:
    host.clock.advance(3_600)
    visitor = await visitor_with(host)
    page = await visitor.get("/functions/shop/versions/prune?keep=0&days=0")
    assert "Remove 1 version" in page
    assert "served before: a rollback goes back to it" in page
    form = {"keep": "0", "days": "0"}
    asked = await text_of(visitor, "/functions/shop/versions/prune", 200, **form)
    assert "Remove version 1 of shop? This cannot be undone." in asked
    assert len(host.registry.versions(shop.id)) == 3
    assert (await visitor.post("/functions/shop/versions/prune", confirmed="yes", **form)).status_code == 303
    assert [version.number for version in host.registry.versions(shop.id)] == [2, 3]
    assert "No version would go." in await visitor.get("/functions/shop/versions/prune")
    assert "Say with numbers" in await visitor.get("/functions/shop/versions/prune?keep=all", 400)


async def test_a_rule_is_asked_set_and_cleared(host: Host, shop: FunctionRecord) -> None:
    visitor = await visitor_with(host)
    form = {"keep": "2", "days": "0.5"}
    asked = await text_of(visitor, "/functions/shop/versions/rule", 200, **form)
    assert "From now on all but the newest 2, and what served within 0.5 days are removed." in asked
    assert "Clear the rule" not in await visitor.get("/functions/shop/versions/prune")
    assert (await visitor.post("/functions/shop/versions/rule", confirmed="yes", **form)).status_code == 303
    page = await visitor.get("/functions/shop/versions/prune")
    assert "all but the newest 2, and what served within 0.50 days." in page
    assert (await visitor.post("/functions/shop/versions/rule/clear")).status_code == 303
    assert "Clear the rule" not in await visitor.get("/functions/shop/versions/prune")
    assert await text_of(visitor, "/functions/shop/versions/rule", 400, confirmed="yes", keep="0", days="1")


async def test_a_name_shows_the_record_that_it_needs_and_is_verified_when_dns_has_it(
    host: Host, shop: FunctionRecord, dns: Dns
) -> None:
    visitor = await visitor_with(host, scope="deploy")
    token = host.registry.domains.record("acme", NAME).token
    page = await visitor.get("/functions/shop/domains")
    assert f'data-copy="{token}"' in page
    assert f">{RECORD}{NAME}</code>" in page
    path = f"/functions/shop/domains/verify?name={NAME}"
    refused = await text_of(visitor, path, 409)
    assert f"DNS has no TXT record at {RECORD}{NAME} with the text {token}." in refused
    assert "not verified" in refused
    dns.texts = [token]
    assert (await visitor.post(path)).status_code == 303
    page = await visitor.get("/functions/shop/domains")
    assert f"{NAME} is verified" in page
    assert "/domains/verify" not in page
    assert await text_of(visitor, "/functions/shop/domains/verify?name=other.example.com", 404)


async def test_a_quota_is_set_and_cleared_by_the_operator_and_marked_for_its_tenant_when_it_is_used_up(
    host: Host, shop: FunctionRecord
) -> None:
    operator, tenant = await visitor_with(host, DEFAULT_TENANT), await visitor_with(host, scope="read")
    assert "used up" not in await tenant.get("/usage")
    for quota, limit in (("functions", "1"), ("storage_mb", "1,024.5"), ("outbound_per_minute", "none")):
        assert (await operator.post("/tenants/acme/quotas", quota=quota, limit=limit)).status_code == 303
    quotas = host.registry.quotas.of("acme")
    assert (quotas.functions, quotas.storage_mb, quotas.outbound_per_minute) == (1, 1024.5, None)
    page = await tenant.get("/usage")
    assert "this quota is used up, and what needs more is refused" in page
    assert page.count("set by the operator") == 3
    assert page.count('<span class="badge bad">used up</span>') == 1
    assert (await operator.post("/tenants/acme/quotas/clear?quota=functions")).status_code == 303
    assert host.registry.quotas.set_for("acme").keys() == {"storage_mb", "outbound_per_minute"}
    assert "used up" not in await operator.get("/tenants/acme/usage")
    for quota, limit, sentence in (
        ("functions", "many", "“many” is no limit. Write a number, or none for no quota."),
        ("functions", "nan", "“nan” is no limit."),
        ("functions", "none", "Functions cannot be without a quota"),
        ("functions", "1.5", "Functions has to be a whole number"),
        (EVIL, "1", "quotas"),
    ):
        refused = await text_of(operator, "/tenants/acme/quotas", 400, quota=quota, limit=limit)
        assert sentence in refused
        assert f'name="limit" required value="{limit}"' in refused


async def test_a_secret_goes_in_as_it_was_pasted_and_never_comes_out(host: Host, shop: FunctionRecord) -> None:
    visitor = await visitor_with(host, scope="deploy")
    assert "no value" in await visitor.get("/functions/shop/settings")
    stored = await visitor.post("/functions/shop/secrets", name="stripe-key", value=PEM.replace("\n", "\r\n"))
    assert stored.headers["location"] == "/dashboard/functions/shop/settings"
    version = host.registry.version(shop.id, 3)
    assert host.registry.secrets.values("acme", version.manifest) == {"STRIPE": PEM}
    for path in ("/functions/shop/settings", "/secrets"):
        page = await visitor.get(path)
        assert "stripe-key" in page
        assert "c2VjcmV0" not in page
    for path in ("/functions/shop/secrets", "/secrets"):
        for name in (EVIL[:100], "a/b", "-x"):
            refused = await text_of(visitor, path, 400, name=name, value=PEM)
            assert f'value="{name}"' in refused
            assert "c2VjcmV0" not in refused
    asked = await text_of(visitor, "/secrets/delete?name=stripe-key", 200)
    assert "Delete the secret stripe-key? shop will get none." in asked
    assert (await visitor.post("/secrets/delete?name=stripe-key", confirmed="yes")).status_code == 303
    assert await text_of(visitor, "/secrets/delete?name=stripe-key", 404, confirmed="yes")


async def test_settings_are_those_of_the_version_that_serves_or_of_the_one_that_is_asked_for(
    host: Host, shop: FunctionRecord
) -> None:
    await host.ship(shop, manifest(), component(errors=(f"foreign import {EVIL}",)))
    visitor = await visitor_with(host, scope="read")
    page = await visitor.get("/functions/shop/settings")
    assert "<script>alert" not in page
    assert "hello &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<span class="unseen">\\u000a</span>you' in page
    for text in ("*.example.org", NAME, "env.ACCOUNT", "stripe-key"):
        assert text in page
    assert page.count("lowered by the manifest") == 2
    page = await visitor.get("/functions/shop/settings?version=4")
    assert "This is version 4." in page
    assert "foreign import &lt;script&gt;" in page
    await visitor.get("/functions/shop/settings?version=9", 404)
    await visitor.get("/functions/shop/settings?version=../1", 404)


async def test_a_backup_is_begun_watched_and_deleted_after_a_yes(host: Host, shop: FunctionRecord) -> None:
    visitor = await visitor_with(host, DEFAULT_TENANT)
    page = await visitor.get("/backups")
    assert BACKUP in page
    assert f"tenure backup restore backups/{BACKUP} --tenant" in page
    assert "whole number" in await text_of(visitor, "/backups", 400, keep="all")
    assert "Delete the backup" in await text_of(visitor, f"/backups/{BACKUP}/delete", 200)
    assert BACKUP in await visitor.get("/backups/rows")
    assert (await visitor.post(f"/backups/{BACKUP}/delete", confirmed="yes")).status_code == 303
    assert BACKUP not in await visitor.get("/backups/rows")
    assert await text_of(visitor, f"/backups/{BACKUP}/delete", 404, confirmed="yes")
    assert (await visitor.post("/backups", keep="3")).status_code == 303
    assert "is being made" in await visitor.get("/backups")
