"""A thousand busy guests of one tenant: another's 99th percentile stays within ten times its quiet value.

The host is a process of its own, with its usual number of workers. The crowd is asked for from here, which costs this
process little: a request is under way until its guests have burned.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.conftest import FUNCTIONS, GUESTS, SESSION
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.until import wait_until

pytestmark = [SESSION, pytest.mark.alone]

GUESTS_BUSY = 1_000
SLOWER_MAX = 10.0
REPLIES = 200
PAUSE_S = 0.004
QUIET_FLOOR_S = 0.005
"""A quiet 99th percentile is taken for no less: beside any other thread that wants a core, a wake-up may be late by a
slice of the operating system's scheduler, 3 to 4 ms where cores are few. A host is not worse for being quick alone.
"""
TRIES = 3
"""Whatever else runs on a machine makes a measurement worse and never better, so the best of a few is the truest."""

CROWDS = {
    "1,500 actors that work for some 20 ms each, again and again": [
        f"/crowd/{first}/250/work/200000" for first in range(0, 1_500, 250)
    ],
    "1,000 requests, half of them to actors, that spin until they are stopped": [
        f"/handler/spin?{number}" if number % 2 else f"/actors/busy-{number}/spin" for number in range(1_000)
    ],
}


class Sites(NamedTuple):
    process: HostProcess
    crowd: Site
    quiet: Site


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    process = HostProcess(tmp_path_factory.mktemp("crowd") / "data")
    process.start()
    try:
        yield process
    finally:
        process.kill()  # what the crowd left behind need not end first


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sites(process: HostProcess) -> AsyncIterator[Sites]:
    found = []
    for tenant, project in (("crowd", GUESTS / "hostile"), ("quiet", FUNCTIONS / "account")):
        async with process.admin() as operator:
            (await operator.http.post("/v1/tenants", json={"id": tenant})).raise_for_status()
            made = await operator.http.post(f"/v1/tenants/{tenant}/keys", json={"name": "ci", "scope": "deploy"})
        async with process.admin(made.raise_for_status().json()["key"]) as admin:
            found.append(Site(f"http://127.0.0.1:{process.port}", (await admin.ship(project)).host))
    yield Sites(process, *found)
    for site in found:
        await site.close()


async def p99_s(quiet: Site) -> float:
    """Of some deposits, one after another; nearest rank."""
    seconds = []
    for _ in range(REPLIES):
        began = time.perf_counter()
        reply = await quiet.post("/accounts/quiet/deposit", json={"amount": 1})
        seconds.append(time.perf_counter() - began)
        assert reply.status_code == 200, reply.text
        await asyncio.sleep(PAUSE_S)
    return sorted(seconds)[math.ceil(0.99 * REPLIES) - 1]


async def guests_of(process: HostProcess) -> int:
    """Calls of guests that have begun and not ended, and requests that wait for a handler, in all workers."""
    status = await asyncio.to_thread(process.status)
    return int(status["sandbox"]["calls"] + status["handlers"]["waiting"])


@asynccontextmanager
async def asked(crowd: Site, paths: list[str]) -> AsyncIterator[Counter[int]]:
    """For each path, again and again while the block runs. Gives the count of each status."""
    statuses: Counter[int] = Counter()

    async def ask(path: str) -> None:
        while True:
            reply = await crowd.get(path)
            statuses[reply.status_code] += 1
            await asyncio.sleep(float(reply.headers.get("retry-after", "0")))

    asking = [asyncio.create_task(ask(path)) for path in paths]
    try:
        yield statuses
    finally:
        for task in asking:
            task.cancel()
        for ended in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended


@pytest.mark.parametrize("which", CROWDS)
async def test_a_thousand_busy_guests_of_one_tenant_leave_anothers_p99_within_ten_times_its_quiet_value(
    sites: Sites, summary: list[str], which: str
) -> None:
    process, crowd, quiet = sites
    await wait_until(lambda: _is_idle(process), "the end of the crowd before", 60)
    await p99_s(quiet)  # the first ones find nothing warm
    alone = await p99_s(quiet)
    bound = SLOWER_MAX * max(alone, QUIET_FLOOR_S)
    async with asked(crowd, CROWDS[which]) as statuses:
        await wait_until(lambda: _is_reached(process), "a thousand guests", 60)
        beside = math.inf
        for _ in range(TRIES):
            beside = min(beside, await p99_s(quiet))
            assert await guests_of(process) > GUESTS_BUSY // 2, "the crowd has gone"
            if beside < bound:
                break
    summary.append(f"{which}: {dict(statuses)}; p99 of a neighbour {beside * 1e3:.1f} ms, alone {alone * 1e3:.1f} ms")
    assert beside < bound


async def _is_reached(process: HostProcess) -> bool:
    return await guests_of(process) >= GUESTS_BUSY


async def _is_idle(process: HostProcess) -> bool:
    return await guests_of(process) == 0
