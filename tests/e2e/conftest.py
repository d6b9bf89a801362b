"""What several modules share: guests that mean harm, each shipped once, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from playwright.async_api import Browser

from host import server
from tests.conftest import GUESTS, Ship, admin_of
from tests.kit import raw
from tests.kit.browser import a_browser
from tests.kit.bundles import zip_of
from tests.kit.http import Site

MANIFEST = """
name = "forger"
main = "forger.js"
compatibility_date = "2026-05-01"
[[actors]]
binding = "HOSTILE"
type = "Nobodys"
[edge_compute]
func_id = "{id}"
func_name = "{name}"
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile(shared: Ship) -> Site:
    """`tests/guests/hostile`: what code can do with the SDK and the language."""
    return await shared(GUESTS / "hostile")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def forger(shared_host: server.Host) -> AsyncIterator[Site]:
    """`tests/guests/raw/forger.js`: what a component without the SDK can do with the imports."""
    component = raw.build((raw.RAW / "forger.js").read_text())
    async with admin_of(shared_host) as admin:
        function = await admin.create("forger")
        manifest = MANIFEST.format(**function)
        await admin.deploy(
            function["id"], zip_of({"tenure.toml": manifest.encode(), "component.wasm": component.read_bytes()})
        )
        site = Site(shared_host.control.listen_url, httpx.URL(function["url"]).netloc.decode())
        yield site
        await site.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as browser:
        yield browser
