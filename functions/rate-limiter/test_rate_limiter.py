"""A client gets its burst and not one request more, and one more each time a token has come back."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host import server
from host.config import ServeConfig
from host.model.clock import ManualClock
from host.model.ids import ActorId
from host.registry.records import DEFAULT_TENANT
from host.storage import keys
from host.storage.layout import read_layout
from host.storage.upgrade import open_shard
from tests.conftest import shipping_to
from tests.kit.http import Site
from tests.kit.until import wait_until

RATE_LIMITER = Path(__file__).parent
BURST = 20
REFILL_S = 3

Limited = tuple[Site, ManualClock]


@pytest.fixture
async def limited(serve_config: ServeConfig) -> AsyncIterator[Limited]:
    """The function on a host whose time stands still, so that no token comes back while a test asks."""
    clock = ManualClock()
    async with server.running(serve_config, clock) as running, shipping_to(running) as ship:
        yield await ship(RATE_LIMITER), clock


async def statuses(site: Site, key: str, requests: int) -> Counter[int]:
    replies = await asyncio.gather(*(site.get("/", headers={"x-api-key": key}) for _ in range(requests)))
    return Counter(reply.status_code for reply in replies)


async def test_of_200_concurrent_requests_exactly_the_burst_passes(limited: Limited) -> None:
    site, _ = limited
    assert await statuses(site, "ada", 200) == {200: BURST, 429: 200 - BURST}
    assert await statuses(site, "bob", 1) == {200: 1}, "another client has a bucket of its own"


async def test_who_is_refused_is_told_when_to_come_back_and_then_passes(limited: Limited) -> None:
    site, clock = limited
    await statuses(site, "ada", BURST)
    refused = await site.get("/", headers={"x-api-key": "ada"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(REFILL_S))
    assert refused.json() == {"error": "too many requests: wait 3 s"}
    clock.advance(1.5)
    refused = await site.get("/", headers={"x-api-key": "ada"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2"), "half a second is rounded up"
    clock.advance(1.5)
    assert await statuses(site, "ada", 5) == {200: 1, 429: 4}
    clock.advance(2 * REFILL_S)
    assert await statuses(site, "ada", 5) == {200: 2, 429: 3}


async def test_a_bucket_holds_no_more_than_its_burst_however_long_nobody_asks(limited: Limited) -> None:
    site, clock = limited
    reply = await site.get("/", headers={"x-api-key": "ada"})
    assert reply.json() == {"answer": 42, "remaining": BURST - 1}
    clock.advance(24 * 3600)
    assert await statuses(site, "ada", 200) == {200: BURST, 429: 200 - BURST}


async def test_a_bucket_that_is_full_again_leaves_nothing_on_the_disk(serve_config: ServeConfig) -> None:
    clock = ManualClock()
    async with server.running(serve_config, clock) as host, shipping_to(host) as ship:
        site = await ship(RATE_LIMITER)
        await statuses(site, "gone", 2)
        await statuses(site, "here", 1)
        committer = host.worker.cluster.shards[0].committer
        for alarms in (2, 1):  # those of the first tokens: one bucket is full, the other takes until the next alarm
            ended = committer.stats().commits + alarms
            clock.advance(REFILL_S)
            await wait_until(lambda: committer.stats().commits >= ended, "alarms")  # noqa: B023
        await statuses(site, "here", 1)
    with contextlib.closing(open_shard(serve_config.data_dir, read_layout(serve_config.data_dir), 0)) as engine:
        buckets = [keys.state_range(ActorId(DEFAULT_TENANT, "Bucket", name)) for name in ("gone", "here")]
        assert [len(engine.scan(*bucket)) for bucket in buckets] == [0, 1]


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "k" * 201}])
async def test_without_a_key_there_is_no_answer(limited: Limited, headers: dict[str, str]) -> None:
    site, _ = limited
    reply = await site.get("/", headers=headers)
    assert (reply.status_code, reply.json()) == (401, {"error": "send your key as x-api-key"})
