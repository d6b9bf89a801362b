"""One tenant asks for more than its share: what is too much is refused with 503 and Retry-After, never left hanging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from host import server
from host.model.limits import HOST_LIMITS
from tests.conftest import GUESTS, SESSION, admin_of, config_in
from tests.kit.http import Site
from tests.kit.until import wait_until

pytestmark = [SESSION, pytest.mark.alone]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[server.Host]:
    """A host of its own: this load would be felt by others. Its handlers fill up before this machine does."""
    config = config_in(tmp_path_factory.mktemp("crowded"))
    limits = replace(HOST_LIMITS, handler_queue_max=1_600, handler_queue_per_tenant_max=900)
    async with server.running(replace(config, limits=limits)) as host:
        yield host


@asynccontextmanager
async def tenant(host: server.Host, name: str, project: Path) -> AsyncIterator[Site]:
    await host.control.registry.create_tenant(name)
    async with admin_of(host, await host.control.registry.create_key(name, "ci", "tenant")) as admin:
        site = Site(host.control.listen_url, (await admin.ship(project)).host)
        yield site
        await site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(crowded: server.Host) -> AsyncIterator[Site]:
    async with tenant(crowded, "crowd", GUESTS / "hostile") as site:
        yield site


async def test_a_full_queue_for_handlers_refuses_with_503_and_retry_after(crowded: server.Host, crowd: Site) -> None:
    limits, handlers = crowded.control.config.limits, crowded.worker.handlers
    places = limits.handlers_busy_per_tenant_max + limits.handler_queue_per_tenant_max
    held = [asyncio.create_task(crowd.get("/handler/sleep")) for _ in range(places)]
    await wait_until(lambda: handlers.busy + handlers.waiting == places, "all places taken", 30)
    refused = await crowd.get("/handler/sleep")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [error["code"] for error in refused.json()["errors"]] == ["unavailable"]
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await wait_until(lambda: handlers.busy + handlers.waiting == 0, "free places", 30)
    assert (await crowd.get("/actors/after/count")).status_code == 200


async def test_a_full_mailbox_is_503_with_retry_after_at_the_edge(crowded: server.Host, crowd: Site) -> None:
    """One handler's calls fill the mailbox of an actor that sleeps; then a handler lets the error pass through."""
    sleeping = asyncio.create_task(crowd.get("/actors/full/sleep"))
    worker = crowded.worker
    await wait_until(lambda: worker.cluster.activations > 0 and worker.scheduler.calls == 2, "the sleeper", 30)
    filling = asyncio.create_task(crowd.get("/pass/full/1000"))
    actors = worker.cluster.shards[0].directory._actors
    await wait_until(lambda: sum(actor.waiting for actor in actors.values()) == 1_000, "a full mailbox", 8)
    refused = await crowd.get("/pass/full/1")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    for task in (sleeping, filling):
        task.cancel()
    await asyncio.gather(sleeping, filling, return_exceptions=True)
