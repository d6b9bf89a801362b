"""Fixtures that all tests share: hosts of real rooms and real sockets, and functions shipped to them.

Starting a host takes most of a second, so tests that leave nothing behind use one host for the whole session (`shared`;
their module says `pytestmark = SESSION`, because a host lives in one event loop). Tests that need a host to
themselves, or one with other settings, use `host` and `ship`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from host import server
from host.config import ServeConfig
from host.model.address import Address
from tests.kit.admin import Admin
from tests.kit.http import Site

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ROOT / "functions"
GUESTS = ROOT / "tests" / "guests"
SESSION = pytest.mark.asyncio(loop_scope="session")

_SUMMARY = pytest.StashKey[list[str]]()

Ship = Callable[[Path], Awaitable[Site]]
"""`await ship(project folder)` builds it (once for each state of its sources), ships it, and gives a client for it."""


def config_in(folder: Path) -> ServeConfig:
    """Free ports and a data folder below `folder`."""
    return ServeConfig(data_dir=folder / "data", listen=Address("127.0.0.1", 0), admin=Address("127.0.0.1", 0))


def admin_of(host: server.Host, key: str = "") -> Admin:
    """A client of its admin API, the operator's if no key is given."""
    return Admin(host.control.admin_url, key or host.control.operator_key, host.control.config.compiled_dir)


@asynccontextmanager
async def shipping_to(host: server.Host) -> AsyncIterator[Ship]:
    """Each project is shipped at most once; the clients are closed at the end."""
    sites: dict[Path, Site] = {}
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(admin_of(host))

        async def ship(project: Path) -> Site:
            if project not in sites:
                sites[project] = Site(host.control.listen_url, (await admin.ship(project)).host)
            return sites[project]

        yield ship
        await asyncio.gather(*(site.close() for site in sites.values()))


@pytest.fixture
def serve_config(tmp_path: Path) -> ServeConfig:
    """What `host` is started with; a module that wants another overrides this fixture."""
    return config_in(tmp_path)


@pytest.fixture
async def host(serve_config: ServeConfig) -> AsyncIterator[server.Host]:
    """A host of its own for one test."""
    async with server.running(serve_config) as running:
        yield running


@pytest.fixture
async def admin(host: server.Host) -> AsyncIterator[Admin]:
    """The operator's client of that host's admin API."""
    async with admin_of(host) as client:
        yield client


@pytest.fixture
async def ship(host: server.Host) -> AsyncIterator[Ship]:
    """Ships to that host."""
    async with shipping_to(host) as shipped:
        yield shipped


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[server.Host]:
    """One host for all tests of the session that are marked SESSION."""
    async with server.running(config_in(tmp_path_factory.mktemp("shared"))) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(shared_host: server.Host) -> AsyncIterator[Ship]:
    """Ships to the session's host."""
    async with shipping_to(shared_host) as shipped:
        yield shipped


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the run: what was measured, for whoever reads the output."""
    return pytestconfig.stash.setdefault(_SUMMARY, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_SUMMARY, []):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
