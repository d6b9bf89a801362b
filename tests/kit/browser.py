"""A headless Chromium of the distribution's, driven by Playwright: signing in, and pictures of pages.

Without a Chromium the tests that need one are skipped, loudly; where CI=1 is set its absence is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "dashboard"
"""Git ignores it."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
"""What a tenant may write in a name: it says in `window.pwned` that it ran."""
NAMELESS = (
    "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
    ".filter((field) => !field.labels.length && !field.ariaLabel).length"
)
"""How many fields of a page have no label."""
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 780}
DEADLINE_MS = 15_000
MISSING = "there is no Chromium here: install Debian's package `chromium` to run the dashboard's tests"


def chromium() -> str:
    """Its path. Skips the test that asks if there is none, or fails it where CI=1."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return found


expect.set_options(timeout=DEADLINE_MS)


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Dashboard(Protocol):
    """`url` is that of the dashboard, `sessions` those of browsers that have signed in, by key."""

    url: str
    sessions: dict[str, Any]


async def signed_in(browser: Browser, site: Dashboard, key: str, **arguments: Any) -> Page:
    """A page of a new context that is signed in with a key, which is given once for all contexts."""
    known = site.sessions.get(key)
    context = await browser.new_context(viewport=WIDE, storage_state=known, **arguments)  # type: ignore[arg-type]
    context.set_default_timeout(DEADLINE_MS)
    page = await context.new_page()
    if known is None:
        await sign_in(page, site, key)
        site.sessions[key] = await context.storage_state()
    else:
        await page.goto(f"{site.url}/")
    return page


async def sign_in(page: Page, site: Dashboard, key: str) -> None:
    await page.goto(f"{site.url}/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def photograph(page: Page, name: str) -> None:
    """Wide in light and narrow in dark; with TENURE_ALL_PICTURES both in both, from top to bottom. Nothing is cut off
    at the side, every field has a name, and nothing ran that a tenant wrote.
    """
    everything = "TENURE_ALL_PICTURES" in os.environ
    assert await page.evaluate(NAMELESS) == 0, f"{name} has fields without a label"
    assert await page.evaluate("window.pwned") is None, name
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        inner, outer = await page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert inner <= outer, f"{name} is {inner} px wide in a window of {outer}"
        usual = ("light",) if width == "wide" else ("dark",)
        for scheme in ("light", "dark") if everything else usual:
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=everything)
