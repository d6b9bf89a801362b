"""Fixtures that all tests share: a host of real rooms and real sockets, and functions shipped to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from host import server
from host.config import Address, ServeConfig
from tests.kit.admin import Admin, Shipped
from tests.kit.http import Site

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ROOT / "functions"
GUESTS = ROOT / "tests" / "guests"

Ship = Callable[[Path], Awaitable[Site]]


@pytest.fixture
def serve_config(tmp_path: Path) -> ServeConfig:
    """What `host` is started with; a module or class that wants another overrides this fixture."""
    return ServeConfig(data_dir=tmp_path / "data", listen=Address("127.0.0.1", 0), admin=Address("127.0.0.1", 0))


@pytest.fixture
async def host(serve_config: ServeConfig) -> AsyncIterator[server.Host]:
    """A host in this process, on free ports and an empty data folder."""
    async with server.running(serve_config) as running:
        yield running


@pytest.fixture
async def admin(host: server.Host) -> AsyncIterator[Admin]:
    """The operator's client of the host's admin API."""
    async with Admin(host.admin_url, host.operator_key) as client:
        yield client


@pytest.fixture
async def ship(host: server.Host, admin: Admin) -> AsyncIterator[Ship]:
    """`await ship(project folder)`: builds it (once for each state of its sources), ships it, gives a client for it."""
    sites: list[Site] = []

    async def shipped(project: Path) -> Site:
        function: Shipped = await admin.ship(project)
        sites.append(Site(host.listen_url, function.host))
        return sites[-1]

    yield shipped
    await asyncio.gather(*(site.close() for site in sites))
