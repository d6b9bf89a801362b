"""The dashboard's pages that steer what serves, in a browser: splits, pruning, domains, secrets, quotas, backups.

The host is the module's own: it asks a DNS server of the test's, and its backups are of it alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from host import server
from tests.conftest import GUESTS, SESSION, admin_of, config_in
from tests.kit.admin import Admin
from tests.kit.browser import EVIL, PICTURES, chromium, photograph, signed_in
from tests.kit.bundles import component_of, manifest_text, zip_of
from tests.kit.dns import Records, dns_server

pytestmark = SESSION

NAME = "shop.example.com"
SETTINGS = f"""
[env_vars]
GREETING = "hello"
MARKUP = {json.dumps(EVIL)}
[[secrets]]
binding = "STRIPE"
name = "stripe-key"
[[secrets]]
binding = "MAIL"
name = "mail-key"
[limits]
request_ms = 5000
requests_per_second = 200
[[domains]]
name = "{NAME}"
[[domains]]
name = "a-rather-long-name-of-a-shop.with.several.parts.example.com"
[edge_compute]
"""


@dataclass
class Shop:
    """The tenant initech with the function shop: version 1 and 2 served, 3 to 5 never did."""

    url: str
    keys: dict[str, str]
    operator: str
    api: Admin
    dns: Records
    sessions: dict[str, Any] = field(default_factory=dict)

    async def told(self, path: str) -> Any:
        """What the admin API tells the tenant."""
        return (await self.api.http.get(f"/v1/{path}")).raise_for_status().json()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    chromium()  # before all the work: skips
    PICTURES.mkdir(parents=True, exist_ok=True)
    folder, keys = tmp_path_factory.mktemp("shop"), {}
    async with (
        dns_server() as records,
        server.running(replace(config_in(folder), dns=records.address)) as host,
        admin_of(host) as operator,
    ):
        await send(operator, "POST", "/v1/tenants", {"id": "initech"})
        for scope in ("read", "deploy", "admin"):
            body = {"name": f"{scope} {EVIL[:40]}", "scope": scope}
            keys[scope] = (await send(operator, "POST", "/v1/tenants/initech/keys", body))["key"]
        async with admin_of(host, keys["admin"]) as admin:
            await furnish(admin, host.control.listen_url)
            await send(operator, "PATCH", "/v1/tenants/initech/quotas", {"functions": 1, "storage_mb": 1.5})
            dashboard = f"{host.control.admin_url}/dashboard"
            yield Shop(dashboard, keys, host.control.operator_key, admin, records)


async def furnish(admin: Admin, listen: str) -> None:
    made = await admin.create("shop")
    path, wasm = f"/v1/functions/{made['id']}", component_of(GUESTS / "observed").read_bytes()
    text = manifest_text(GUESTS / "observed") + SETTINGS + f'func_id = "{made["id"]}"\nfunc_name = "shop"\n'
    bundle = zip_of({"tenure.toml": text.encode(), "component.wasm": wasm})
    for number in range(1, 6):
        query = "" if number < 3 else "?deploy=false"
        reply = await admin.http.post(f"{path}/versions{query}", content=bundle)
        await admin.settled(made["id"], reply.raise_for_status().json()["number"])
    await send(admin, "PUT", "/v1/secrets/stripe-key", {"value": "sk_live_1"})
    headers = {"host": httpx.URL(made["url"]).netloc.decode()}
    async with httpx.AsyncClient(base_url=listen, headers=headers, trust_env=False) as calls:
        for number in range(12):
            (await calls.get(f"/add/c{number % 3}")).raise_for_status()


async def send(admin: Admin, method: str, path: str, body: Any) -> Any:
    reply = await admin.http.request(method, path, json=body)
    return reply.raise_for_status().json()


async def agree(page: Page, word: str) -> None:
    await page.get_by_role("dialog").get_by_role("button", name=word).click()


async def test_the_server_asks_what_a_split_would_give_to_each_version_and_a_click_ends_it(
    shop: Shop, browser: Browser
) -> None:
    page = await signed_in(browser, shop, shop.keys["deploy"], java_script_enabled=False)
    await page.goto(f"{shop.url}/functions/shop/versions")
    await page.get_by_text("Split by weight").click()
    await page.get_by_role("textbox", name="Version 2").fill("90")
    await page.get_by_role("textbox", name="Version 3").fill("nine")
    await page.get_by_role("button", name="Split", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("A weight is a whole number")
    await expect(page.get_by_role("textbox", name="Version 3")).to_have_value("nine")
    await page.get_by_role("textbox", name="Version 3").fill("10")
    await page.get_by_role("button", name="Split", exact=True).click()
    await expect(page.get_by_role("main")).to_contain_text("version 3 gets 10 %, version 2 gets 90 %")
    await page.get_by_role("main").get_by_role("button", name="Split", exact=True).click()
    await expect(page.get_by_role("status")).to_contain_text("Versions 2, 3 of shop serve now.")
    await expect(page.get_by_role("img", name="version 3: 10.0 %")).to_be_visible()
    split = (await shop.told("functions/shop"))["split"]
    assert split == [{"version": 2, "weight": 90}, {"version": 3, "weight": 10}]
    await page.context.close()
    page = await signed_in(browser, shop, shop.keys["deploy"])
    await page.goto(f"{shop.url}/functions/shop/versions")
    await page.get_by_text("Change the split").click()
    await photograph(page, "versions-split")
    await page.get_by_role("button", name="Serve alone: version 2").click()
    await expect(page.get_by_role("dialog")).to_contain_text("End the split of shop and let version 2 serve alone?")
    await agree(page, "Serve alone")
    await expect(page.get_by_role("status")).to_contain_text("Version 2 of shop serves now.")
    assert (await shop.told("functions/shop"))["split"] == []
    await page.context.close()


async def test_what_would_be_pruned_is_shown_first_and_a_rule_is_set_after_a_yes(shop: Shop, browser: Browser) -> None:
    page = await signed_in(browser, shop, shop.keys["admin"])
    await page.goto(f"{shop.url}/functions/shop/versions")
    await page.get_by_role("link", name="Remove old versions").click()
    await expect(page.get_by_role("main")).to_contain_text("No version would go.")
    await page.get_by_label("The newest").fill("1")
    await page.get_by_label("Served within days").fill("0")
    await page.get_by_role("button", name="What would go?").click()
    await page.get_by_role("button", name="Set what is above as the rule").click()
    await expect(page.get_by_role("dialog")).to_contain_text("all but the newest 1")
    await agree(page, "Set the rule")
    await expect(page.get_by_role("status")).to_contain_text("Old versions of shop go by themselves now.")
    assert (await shop.told("functions/shop"))["rule"] == {"keep": 1, "days": 0, "set": True}
    await photograph(page, "prune")
    await page.get_by_role("button", name=re.compile("Remove [0-9] version")).click()
    await expect(page.get_by_role("dialog")).to_contain_text("4 of shop?")
    await agree(page, "Remove")
    await expect(page.get_by_role("status")).to_contain_text("Removed of shop: ")
    numbers = [one["number"] for one in (await shop.told("functions/shop/versions"))["versions"]]
    assert 4 not in numbers
    assert {1, 2, 5} <= set(numbers)
    await page.get_by_role("link", name="Remove old versions").click()
    await page.get_by_role("button", name="Clear the rule").click()
    await expect(page.get_by_role("status")).to_contain_text("has no rule of its own")
    assert (await shop.told("functions/shop"))["rule"] is None
    await page.context.close()


async def test_a_name_is_verified_with_the_record_that_was_copied(shop: Shop, browser: Browser) -> None:
    page = await signed_in(browser, shop, shop.keys["deploy"], permissions=["clipboard-read", "clipboard-write"])
    await page.goto(f"{shop.url}/functions/shop/domains")
    await photograph(page, "domains")
    await page.get_by_role("button", name=f"Verify {NAME}").click()
    await expect(page.get_by_role("alert")).to_contain_text("DNS has no TXT record")
    section = page.locator("section").filter(has_text=NAME)
    await section.get_by_role("button", name="Copy the text of the record").click()
    await expect(section.get_by_text("Copied")).to_be_visible()
    text = await page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("tenure-")
    shop.dns.texts[f"_tenure.{NAME}"] = [text]
    await page.get_by_role("button", name=f"Verify {NAME}").click()
    await expect(page.get_by_role("status")).to_contain_text(f"{NAME} is verified")
    await expect(page.get_by_role("button", name=f"Verify {NAME}")).to_have_count(0)
    await page.context.close()


async def test_settings_show_everything_but_the_secrets_which_are_stored_and_deleted_there(
    shop: Shop, browser: Browser
) -> None:
    page = await signed_in(browser, shop, shop.keys["deploy"])
    await page.goto(f"{shop.url}/functions/shop/settings")
    main = page.get_by_role("main")
    for text in (EVIL, "env.GREETING", "localhost", NAME, "no value"):
        await expect(main.get_by_text(text).first).to_be_visible()
    await expect(page.get_by_role("row", name="request_ms")).to_contain_text(
        re.compile("lowered by the manifest.*5,000")
    )
    await page.get_by_text("Store a secret", exact=True).click()
    await photograph(page, "settings-all")
    await page.get_by_label("Name").fill("mail-key")
    await page.get_by_label("Value").fill("first line\nsecond line")
    await page.get_by_role("button", name="Store").click()
    await expect(page.get_by_role("status")).to_contain_text("The secret mail-key is stored.")
    await expect(page.get_by_text("no value", exact=True)).to_have_count(0)
    assert "second line" not in await page.content()
    await page.get_by_role("link", name="Secrets").click()
    await photograph(page, "secrets")
    await page.get_by_role("button", name="Delete the secret mail-key").click()
    await expect(page.get_by_role("dialog")).to_contain_text("shop will get none.")
    await agree(page, "Delete")
    await expect(page.get_by_role("row").filter(has_text="mail-key")).to_have_count(0)
    assert [one["name"] for one in (await shop.told("secrets"))["secrets"]] == ["stripe-key"]
    await page.context.close()


async def test_the_operator_sets_a_quota_and_the_tenant_sees_what_is_used_up(shop: Shop, browser: Browser) -> None:
    theirs = await signed_in(browser, shop, shop.keys["read"])
    await theirs.get_by_role("link", name="Usage").click()
    await expect(theirs.get_by_role("row").filter(has_text="of all the tenant")).to_contain_text("used up")
    await expect(theirs.get_by_role("img", name="functions: 100.0 % used")).to_be_visible()
    await photograph(theirs, "usage")
    page = await signed_in(browser, shop, shop.operator)
    await page.get_by_role("link", name="Tenants").click()
    await page.get_by_role("link", name="initech").click()
    await page.get_by_role("link", name="Usage and quotas").click()
    await page.get_by_role("combobox", name="Quota").select_option("requests_per_second")
    await page.get_by_role("textbox", name="Limit").fill("fifty")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("“fifty” is no limit.")
    await page.get_by_role("textbox", name="Limit").fill("50")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.get_by_role("status")).to_contain_text("requests_per_second of initech is 50 from now on.")
    await page.get_by_role("button", name="Clear functions").click()
    await expect(page.get_by_role("status")).to_contain_text("functions of initech is the host's own again.")
    await photograph(page, "tenant-usage")
    await theirs.reload()
    await expect(theirs.get_by_text("used up")).to_have_count(0)
    limits = {one["name"]: one["limit"] for one in (await shop.told("usage"))["quotas"]}
    assert (limits["requests_per_second"], limits["functions"]) == (50, 100)
    await theirs.context.close()
    await page.context.close()


async def test_a_backup_is_made_and_is_complete_without_a_reload(shop: Shop, browser: Browser) -> None:
    page = await signed_in(browser, shop, shop.operator)
    await page.get_by_role("link", name="Backups").click()
    await expect(page.get_by_role("heading", name="No backups yet")).to_be_visible()
    await page.get_by_role("button", name="Back up now").click()
    await expect(page.get_by_role("status")).to_contain_text("is being made")
    row = page.get_by_role("row").filter(has_text="complete")
    await expect(row).to_have_count(1)
    await photograph(page, "backups")
    await row.get_by_role("button", name="Delete the backup").click()
    await agree(page, "Delete")
    await expect(page.get_by_role("heading", name="No backups yet")).to_be_visible()
    await page.context.close()
