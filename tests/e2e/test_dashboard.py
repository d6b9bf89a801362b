"""The dashboard in a browser, on a whole host with real functions: every page looked at, everything that is done, done.

Pictures of each page, wide and narrow, light and dark, are put into `build/dashboard`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.conftest import FUNCTIONS, GUESTS, SESSION
from tests.kit.admin import Admin, Shipped
from tests.kit.browser import PICTURES, a_browser, chromium
from tests.kit.bundles import bundle_of
from tests.kit.process import HostProcess

pytestmark = SESSION

EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
ODD_NAME = f"a/b?c&d\n\u202e{EVIL}"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 780}
DEADLINE_MS = 15_000

expect.set_options(timeout=DEADLINE_MS)


@dataclass
class Site:
    """A host on which the tenant acme has one of everything. `keys` by scope; `operator` is the operator's."""

    host: HostProcess
    keys: dict[str, str]
    operator: str
    account: Shipped
    observed: Shipped
    calls: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"{self.host.admin_url}/dashboard"

    async def call(self, function: Shipped, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"host": function.host}
        return await self.calls.request(
            method, f"http://127.0.0.1:{self.host.port}{path}", headers=headers, **arguments
        )


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
async def site(tmp_path_factory: Any) -> AsyncIterator[Site]:
    chromium()  # before all the work: skips
    host = HostProcess(tmp_path_factory.mktemp("dashboard") / "data", flags=["--workers", "2"])
    await asyncio.to_thread(host.start)
    try:
        async with host.admin() as operator, httpx.AsyncClient(trust_env=False, timeout=60) as calls:
            await ask(operator, "POST", "/v1/tenants", json={"id": "acme"})
            keys = {}
            for scope in ("read", "deploy", "admin"):
                body = {"name": f"{scope} {EVIL[:40]}", "scope": scope}
                keys[scope] = (await ask(operator, "POST", "/v1/tenants/acme/keys", json=body))["key"]
            async with Admin(host.admin_url, keys["admin"]) as admin:
                account = await admin.ship(FUNCTIONS / "account")
                observed = await admin.ship(GUESTS / "observed")
                await admin.deploy(observed.id, bundle_of(GUESTS / "observed", observed.id, observed.name))
                await admin.create("newcomer")
                await ask(admin, "PUT", "/v1/secrets/MAIL_KEY", json={"value": "s3cr3t-value"})
                await ask(admin, "POST", "/v1/actors/import", content=imported())
            site = Site(host, keys, host.key, account, observed, calls)
            for number in range(30):
                await site.call(account, "POST", f"/accounts/a{number % 3}/deposit", json={"amount": 5})
                await site.call(observed, "GET", f"/{('add/x', 'say?text=hello', 'throw')[number % 3]}")
            await site.call(observed, "GET", "/say", params={"text": EVIL})
            yield site
    finally:
        await asyncio.to_thread(host.kill)


async def ask(admin: Admin, method: str, path: str, **arguments: Any) -> Any:
    reply = await admin.http.request(method, path, **arguments)
    reply.raise_for_status()
    return reply.json() if reply.content else None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as browser:
        yield browser


async def signed_in(browser: Browser, site: Site, key: str, **arguments: Any) -> Page:
    """A page of a new context: nothing is shared with others. What its console says is kept in `page.said`."""
    context: BrowserContext = await browser.new_context(viewport=WIDE, **arguments)
    context.set_default_timeout(DEADLINE_MS)
    page = await context.new_page()
    await page.goto(f"{site.url}/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


PAGES = {
    "functions": "/",
    "function": "/functions/observed?minutes=15",
    "versions": "/functions/observed/versions",
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


async def photograph(page: Page, name: str) -> None:
    """Wide and narrow, light and dark. On none of them anything is cut off at the side."""
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        inner, outer = await page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert inner <= outer, f"{name} is {inner} px wide in a window of {outer}"
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png")


async def test_every_page_fits_a_wide_and_a_narrow_window_in_light_and_in_dark(site: Site, browser: Browser) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = await signed_in(browser, site, site.keys["admin"])
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for name, path in PAGES.items():
        await page.goto(site.url + path)
        await photograph(page, name)
    await page.get_by_role("button", name="Sign out").click()
    await photograph(page, "sign-in")
    await page.context.close()
    page = await signed_in(browser, site, site.operator)
    for name, path in OPERATORS_PAGES.items():
        await page.goto(site.url + path)
        await photograph(page, name)
    await page.context.close()
    print(f"\npictures: {PICTURES}")
    assert [text for text in said if "404" not in text] == []
