"""The dashboard in a browser, on a whole host with real functions: every page looked at, everything that is done, done.

Pictures of each page, wide and narrow, light and dark, are put into `build/dashboard`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest_asyncio
from playwright.async_api import Browser, expect

from host import server
from tests.conftest import FUNCTIONS, GUESTS, SESSION, admin_of
from tests.kit.admin import Admin, Shipped
from tests.kit.browser import EVIL, PICTURES, WIDE, chromium, photograph, sign_in, signed_in
from tests.kit.bundles import bundle_of

pytestmark = SESSION

ODD_NAME = f"a/b?c&d\n\u202e{EVIL}"


@dataclass
class Site:
    """A host on which the tenant acme has one of everything. `keys` are its by scope; `operator` is the operator's.
    `sessions` are those of browsers that have signed in, by key.
    """

    url: str
    api: str
    listen: str
    keys: dict[str, str]
    operator: str
    account: Shipped
    observed: Shipped
    calls: httpx.AsyncClient
    sessions: dict[str, Any] = field(default_factory=dict)

    async def call(self, function: Shipped, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"host": function.host}
        return await self.calls.request(method, self.listen + path, headers=headers, **arguments)


def imported() -> str:
    """Actors with everything that pages show of actors: odd names, dead and waiting alarms, all sorts of values."""
    dead = {
        "due_ms": 1_790_000_000_000,
        "failed_ms": 1_790_000_063_000,
        "error": "ActorMethodError",
        "message": f"no mail {EVIL}",
    }
    lines: list[dict[str, Any]] = [{"tenure_export": 1, "tenant": "acme"}]
    for number in range(60):
        lines += [
            {"actor": ["Account", f"customer-{number:03}"], "created_ms": 1, "alarm_ms": None, "dead_alarm": None},
            {"key": "balance", "value": number * 50},
        ]
    lines += [
        {"actor": ["Counter", ODD_NAME], "created_ms": 1, "alarm_ms": None, "dead_alarm": dead},
        {"key": EVIL, "value": {"note": EVIL, "when": {"$date": 1_700_000_000_000}}},
        {"actor": ["Counter", "patient"], "created_ms": 1, "alarm_ms": 4_000_000_000_000, "dead_alarm": None},
        {"key": "count", "value": 7},
        {"actor": ["Counter", "tired"], "created_ms": 1, "alarm_ms": None, "dead_alarm": dead},
        {
            "key": "history",
            "value": [{"at": {"$date": 1_700_000_000_000}, "amount": n, "tags": ["a", "b"]} for n in range(40)],
        },
        {"key": "profile", "value": {"name": "Ada", "address": {"city": "Paris", "zip": "75001"}}},
    ]
    lines.append({"end": {"actors": 63, "keys": 64}})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(shared_host: server.Host) -> AsyncIterator[Site]:
    chromium()  # before all the work: skips
    control, keys = shared_host.control, {}
    async with (
        admin_of(shared_host) as operator,
        httpx.AsyncClient(trust_env=False, timeout=60) as calls,
    ):
        await ask(operator, "POST", "/v1/tenants", json={"id": "acme"})
        for scope in ("read", "deploy", "admin"):
            body = {"name": f"{scope} {EVIL[:40]}", "scope": scope}
            keys[scope] = (await ask(operator, "POST", "/v1/tenants/acme/keys", json=body))["key"]
        async with admin_of(shared_host, keys["admin"]) as admin:
            account = await admin.ship(FUNCTIONS / "account")
            observed = await admin.ship(GUESTS / "observed")
            await admin.deploy(observed.id, bundle_of(GUESTS / "observed", observed.id, observed.name))
            await admin.create("newcomer")
            await ask(admin, "PUT", "/v1/secrets/MAIL_KEY", json={"value": "s3cr3t-value"})
            await ask(admin, "POST", "/v1/actors/import", content=imported())
        addresses = (f"{control.admin_url}/dashboard", control.admin_url, control.listen_url)
        site = Site(*addresses, keys, control.operator_key, account, observed, calls)
        for number in range(30):
            await site.call(account, "POST", f"/accounts/a{number % 3}/deposit", json={"amount": 5})
            await site.call(observed, "GET", f"/{('add/x', 'say?text=hello', 'throw')[number % 3]}")
        await site.call(observed, "GET", "/say", params={"text": EVIL})
        yield site
        for tenant in ("acme", "umbrella"):
            await operator.http.delete(f"/v1/tenants/{tenant}")


async def read(site: Site, path: str) -> Any:
    """What the admin API tells the tenant."""
    headers = {"authorization": f"Bearer {site.keys['read']}"}
    reply = await site.calls.get(f"{site.api}/v1/{path}", headers=headers)
    return reply.raise_for_status().json()


async def ask(admin: Admin, method: str, path: str, **arguments: Any) -> Any:
    reply = await admin.http.request(method, path, **arguments)
    reply.raise_for_status()
    return reply.json() if reply.content else None


PAGES = {
    "functions": "/",
    "function": "/functions/observed?minutes=15",
    "versions": "/functions/observed/versions",
    "function-usage": "/functions/observed/usage",
    "settings": "/functions/account/settings",
    "logs": "/functions/observed/logs",
    "newcomer": "/functions/newcomer",
    "actors": "/actors",
    "actors-of-a-type": "/actors?type=Account&prefix=customer-01",
    "actor": "/actor?type=Counter&name=tired",
    "key": "/actor/key?type=Counter&name=tired&key=profile",
    "alarms": "/alarms",
    "alarms-waiting": "/alarms?state=waiting",
    "not-found": "/functions/nobody",
}
OPERATORS_PAGES = {"tenants": "/tenants", "tenant": "/tenants/acme", "workers": "/workers", "empty": "/"}


async def test_every_page_fits_a_wide_and_a_narrow_window_in_light_and_in_dark(site: Site, browser: Browser) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    context = await browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = await context.new_page()
    await sign_in(page, site, site.keys["admin"])
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for name, path in PAGES.items():
        await page.goto(site.url + path)
        await photograph(page, name)
    await page.get_by_role("button", name="Sign out").click()
    await photograph(page, "sign-in")
    await sign_in(page, site, site.operator)
    for name, path in OPERATORS_PAGES.items():
        await page.goto(site.url + path)
        await photograph(page, name)
    await page.context.close()
    print(f"\npictures: {PICTURES}")
    assert [text for text in said if "404" not in text] == []


async def test_a_click_and_a_yes_roll_back_and_a_no_does_not(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["deploy"])
    await page.goto(f"{site.url}/functions/observed/versions")
    button = page.get_by_role("button", name="Roll back to version 1")
    await button.click()
    await expect(page.get_by_role("dialog")).to_contain_text("Roll back observed to version 1?")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(button).to_be_focused()
    await button.click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_role("status")).to_contain_text("Version 1 of observed serves now.")
    await expect(page.get_by_role("button", name="Deploy to version 2")).to_be_visible()
    assert (await read(site, "functions/observed"))["version"] == 1
    await page.context.close()


async def test_without_a_script_the_server_asks_first_and_everything_but_what_is_live_is_there(
    site: Site, browser: Browser
) -> None:
    page = await signed_in(browser, site, site.keys["deploy"], java_script_enabled=False)
    await page.goto(f"{site.url}/functions/observed")
    await expect(page.get_by_role("img", name="Requests")).to_be_visible()
    await page.get_by_role("link", name="Versions").click()
    serving = (await read(site, "functions/observed"))["version"]
    await page.get_by_role("button", name=f"version {3 - serving}").click()
    await expect(page.get_by_role("main")).to_contain_text(f"observed to version {3 - serving}?")
    assert (await read(site, "functions/observed"))["version"] == serving
    await page.get_by_role("main").get_by_role("button").click()
    await expect(page.get_by_role("status")).to_contain_text(f"Version {3 - serving} of observed serves now.")
    await page.context.close()


async def test_a_line_is_on_the_page_as_it_is_logged_and_the_charts_count_the_request(
    site: Site, browser: Browser
) -> None:
    page = await signed_in(browser, site, site.keys["read"])
    charts = await page.context.new_page()
    await charts.goto(f"{site.url}/functions/observed")
    before = int((await charts.locator(".figure").first.inner_text()).replace(",", ""))
    await page.goto(f"{site.url}/functions/observed/logs?type=console&level=warn")
    await expect(page.get_by_text("Live: lines are shown as they come.")).to_be_visible()
    await site.call(site.observed, "GET", "/say", params={"text": f"as it comes {EVIL}"})
    line = page.get_by_role("listitem").filter(has_text=f"as it comes {EVIL}")
    await expect(line).to_have_count(1)
    await page.get_by_role("button", name="Pause").click()
    await site.call(site.observed, "GET", "/say", params={"text": "while it was paused"})
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_text("while it was paused")).to_have_count(1)
    await expect(line).to_have_count(1)
    await charts.bring_to_front()
    await expect(charts.locator(".figure").first).to_have_text(f"{before + 2}")
    assert await page.evaluate("window.pwned") is None
    await page.context.close()


async def test_an_actor_is_found_and_edited_and_its_next_turn_sees_the_edit(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["deploy"])
    await page.goto(f"{site.url}/actors")
    await page.get_by_label("Type").select_option("Account")
    await page.get_by_label("Name begins with").fill("customer-02")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("row")).to_have_count(2 + 1 + 10 + 1)
    await page.get_by_role("link", name="customer-021").click()
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Value, as JSON").fill("{not json")
    await page.get_by_role("button", name="Store").click()
    await expect(page.get_by_role("alert")).to_contain_text("not valid JSON")
    await expect(page.get_by_label("Value, as JSON")).to_have_value("{not json")
    await page.get_by_label("Value, as JSON").fill("77")
    await page.get_by_role("button", name="Store").click()
    await expect(page.get_by_role("status")).to_contain_text("is stored")
    reply = await site.call(site.account, "GET", "/accounts/customer-021/balance")
    assert reply.json()["balance"] == 77
    await page.get_by_text("Add a key").click()
    await page.get_by_label("Key", exact=True).fill("note")
    await page.get_by_label("Value, as JSON").fill('{"to": "Ada"}')
    await page.get_by_role("button", name="Store").click()
    await page.get_by_role("button", name="Delete the key note").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("status")).to_contain_text("“note” is deleted")
    await expect(page.get_by_role("button", name="Delete this actor")).to_have_count(0)
    await page.context.close()


async def test_what_a_tenant_wrote_is_shown_and_never_run(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["admin"])
    await page.goto(f"{site.url}/actors?type=Counter")
    await page.get_by_role("link", name="a/b?c&d").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"a/b?c&d\\u000a\\u202e{EVIL}")
    await page.get_by_role("link", name="<img").first.click()
    await expect(page.get_by_label("Value, as JSON")).to_have_value(
        json.dumps({"note": EVIL, "when": {"$date": 1_700_000_000_000}}, indent=2)
    )
    await page.get_by_label("Value, as JSON").fill(json.dumps(EVIL))
    await page.get_by_role("button", name="Store").click()
    await expect(page.get_by_role("row").filter(has_text="<img").last).to_be_visible()
    await page.get_by_role("button", name="Delete the key").click()
    await expect(page.get_by_role("dialog")).to_contain_text(EVIL)
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("main")).to_contain_text("It stores nothing.")
    for path in ("/alarms", "/functions/observed/logs", "/functions/observed/versions"):
        await page.goto(site.url + path)
        await expect(page.get_by_role("main").get_by_text("<img").first).to_be_visible()
        assert await page.evaluate("window.pwned") is None
    await page.context.close()


async def test_a_dead_alarm_is_put_back(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["deploy"])
    await page.goto(f"{site.url}/alarms")
    await page.get_by_role("button", name="Retry the alarm of tired").click()
    await expect(page.get_by_role("status")).to_contain_text("1 alarm put back")
    await expect(page.get_by_role("button", name="Retry the alarm of tired")).to_have_count(0)
    await page.context.close()


async def test_a_key_that_reads_sees_no_button_that_writes(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["read"])
    for path in (PAGES["versions"], PAGES["actor"], PAGES["alarms"]):
        await page.goto(site.url + path)
        forms = page.locator("form[method=post]")
        assert await forms.count() == 1, path
        await expect(forms.get_by_role("button")).to_have_text("Sign out")
    await page.goto(f"{site.url}/tenants")
    await expect(page.get_by_role("alert")).to_contain_text("operator")
    await page.context.close()


async def test_an_operator_makes_a_tenant_gives_it_a_key_suspends_and_resumes_it(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.operator)
    await page.get_by_role("link", name="Tenants").click()
    await page.get_by_label("Id").fill("Not An Id")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot be a tenant's id")
    await page.get_by_label("Id").fill("umbrella")
    await page.get_by_role("button", name="Create").click()
    await page.get_by_label("New key's name").fill("ci")
    await page.get_by_role("button", name="Create").click()
    key = (await page.locator(".made pre").inner_text()).strip()
    theirs = await signed_in(browser, site, key)
    await expect(theirs.get_by_role("heading", name="No functions yet")).to_be_visible()
    await page.get_by_role("button", name="Suspend").click()
    await page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    await expect(page.get_by_role("status")).to_contain_text("umbrella is suspended")
    await theirs.reload()
    await expect(theirs.get_by_role("alert")).to_contain_text("suspended")
    await page.get_by_role("button", name="Resume").click()
    await theirs.reload()
    await expect(theirs.get_by_role("heading", name="No functions yet")).to_be_visible()
    await page.get_by_role("button", name="Revoke the key ci").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await theirs.reload()
    await expect(theirs.get_by_role("status")).to_contain_text("You are signed out")
    await page.get_by_role("link", name="Workers").click()
    await expect(page.get_by_role("row").filter(has_text="serving")).to_have_count(1)
    await theirs.context.close()
    await page.context.close()


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(site: Site, browser: Browser) -> None:
    page = await signed_in(browser, site, site.keys["admin"])
    await page.goto(f"{site.url}/functions/observed/versions")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    focused = page.locator(":focus")
    await expect(focused).to_have_text("Functions")
    assert await focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    reached = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Overview", "Versions", "Logs", "Settings", "Sign out", "Actors"} <= reached
    assert {"Roll back", "Deploy"} & reached
    await page.context.close()
