"""Quotas on a whole host of two workers: what clients and guests are told, for whom, and what a SIGKILL leaves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from host.model.ids import ActorId
from host.registry.usage import WRITE_S
from host.storage.layout import shard_of
from tests.conftest import FUNCTIONS, GUESTS
from tests.guests.outbound.origin import ADDRESS, serving
from tests.kit.admin import Admin, Json
from tests.kit.bundles import bundle_of
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.until import wait_until

ACCOUNT = FUNCTIONS / "account"
RUNNER = GUESTS / "outbound"
RATE = 20
BURN = "for (const end = Date.now() + 500; Date.now() < end; ); return 'done'"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """A host of two workers, whose guests may reach the origin; each test has tenants of its own."""
    process = HostProcess(tmp_path_factory.mktemp("quotas") / "data", flags=("--workers", "2"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENURE_OUTBOUND_PERMITTED", f"{ADDRESS}/32")
        process.start()
        try:
            yield process
        finally:
            process.kill()


async def new_tenant(process: HostProcess, tenant: str) -> Admin:
    async with process.admin() as operator:
        (await operator.http.post("/v1/tenants", json={"id": tenant})).raise_for_status()
        made = await operator.http.post(f"/v1/tenants/{tenant}/keys", json={"name": "ci", "scope": "deploy"})
    return process.admin(made.raise_for_status().json()["key"])


async def site_of(process: HostProcess, tenant: str) -> tuple[Admin, Site]:
    admin = await new_tenant(process, tenant)
    return admin, Site(f"http://127.0.0.1:{process.port}", (await admin.ship(ACCOUNT)).host)


class Runner:
    """A tenant whose guest runs the code that it is sent, in its handler or an actor, and may fetch from the origin."""

    def __init__(self, admin: Admin, site: Site) -> None:
        self.admin, self.site = admin, site

    async def run(self, code: str, actor: str | None = None) -> Any:
        reply = await self.site.post("/" if actor is None else f"/?actor={actor}", content=code)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def refusals(self, quota: str) -> int:
        """How often this quota is said to have refused something today."""
        days = (await self.admin.http.get("/v1/usage")).raise_for_status().json()["days"]
        return int(days[0]["over"].get(quota, 0)) if days else 0


@asynccontextmanager
async def runner(process: HostProcess, tenant: str) -> AsyncIterator[Runner]:
    async with await new_tenant(process, tenant) as admin:
        made = await admin.create("outbound")
        extra = f"\n[outbound]\nallow = {json.dumps([ADDRESS])}\n"
        await admin.deploy(made["id"], bundle_of(RUNNER, made["id"], made["name"], extra))
        site = Site(f"http://127.0.0.1:{process.port}", made["url"].removeprefix("http://"))
        yield Runner(admin, site)
        await site.close()


def names_on(slot: int, tenant: str, count: int) -> list[str]:
    """Actors that this slot's worker serves."""
    names = (f"actor-{number}" for number in range(1_000))
    return [name for name in names if shard_of(ActorId(tenant, "Runner", name), 2) == slot][:count]


async def used(admin: Admin, name: str) -> Json:
    found = (await admin.http.get("/v1/usage")).raise_for_status().json()
    return {**found, **next(one for one in found["quotas"] if one["name"] == name)}


async def set_quotas(process: HostProcess, tenant: str, **quotas: float | None) -> None:
    async with process.admin() as operator:
        (await operator.http.patch(f"/v1/tenants/{tenant}/quotas", json=quotas)).raise_for_status()


async def test_a_hosts_quotas_hold_over_its_workers_and_touch_no_other_tenant(process: HostProcess) -> None:
    (acme, site), (other, neighbour) = await site_of(process, "acme"), await site_of(process, "other")
    await set_quotas(process, "acme", requests_per_second=RATE)

    began = time.monotonic()
    replies = await asyncio.gather(*(site.get("/accounts/a/balance") for _ in range(80)))
    passed, seconds = sum(reply.status_code == 200 for reply in replies), time.monotonic() - began
    assert RATE <= passed <= RATE * (1 + seconds) + 3, "the workers let in together what one would, but for two at once"
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["errors"][0]["code"] == "too_many_requests"
    fine = await asyncio.gather(*(neighbour.get("/accounts/a/balance") for _ in range(40)))
    assert {reply.status_code for reply in fine} == {200}

    await set_quotas(process, "acme", requests_per_second=None, storage_mb=0.00004)  # 41 bytes
    first = await site.post("/accounts/a/deposit", json={"amount": 1})
    assert first.status_code == 200
    full = [await site.post(f"/accounts/b{number}/deposit", json={"amount": 1}) for number in range(8)]
    assert {200, 500} >= {reply.status_code for reply in full} >= {500}
    assert (await neighbour.post("/accounts/b/deposit", json={"amount": 1})).status_code == 200
    assert (await used(acme, "storage_mb"))["used"] <= 0.00004
    await set_quotas(process, "acme", storage_mb=1)
    assert (await site.post("/accounts/b7/deposit", json={"amount": 1})).status_code == 200

    began, refusals = time.monotonic(), sum(reply.status_code == 429 for reply in replies)
    while time.monotonic() < began + WRITE_S + 1:
        await site.get("/accounts/a/balance")
    before = await used(acme, "storage_mb")
    process.kill()
    await asyncio.to_thread(process.start)
    after = await used(acme, "storage_mb")
    assert after["days"][0]["requests"] >= passed + 9, "what was counted before the last two seconds is there"
    assert after["days"][0]["over"] == {**before["days"][0]["over"], "requests_per_second": refusals}
    assert (after["used"], after["limit"]) == (before["used"], 1)
    for one in (acme, other):
        await one.http.aclose()
    for each in (site, neighbour):
        await each.close()


async def test_fetches_beyond_a_tenants_quota_are_refused_in_the_guest_and_do_not_leave(process: HostProcess) -> None:
    async with serving() as origin, runner(process, "fetching") as one, runner(process, "fetching-too") as other:
        await set_quotas(process, "fetching", outbound_per_minute=3)
        fetch = f"return (await fetch('http://{ADDRESS}:{origin.port}/echo')).status"
        said = [await one.run(fetch, actor) for actor in (None, "a", None, "b")]
        assert said[:3] == [200, 200, 200]
        assert said[3]["error"] == "QuotaExceededError"
        assert said[3]["message"].startswith("the quota of outbound requests is used up for now: try again in ")
        assert len(origin.seen) == 3
        assert await other.run(fetch) == 200

        async def counted() -> bool:
            return await one.refusals("outbound_per_minute") == 1

        await wait_until(counted, "the refusal in the tenant's usage")
        await set_quotas(process, "fetching", outbound_per_minute=6_000)
        assert await one.run(fetch) == 200


async def test_who_has_used_up_a_minutes_cpu_time_waits_at_the_edge_and_in_actors_of_all_workers(
    process: HostProcess,
) -> None:
    async with runner(process, "burning") as one, runner(process, "burning-not") as other:
        await set_quotas(process, "burning", cpu_ms_per_minute=100)
        assert await one.run(BURN) == "done", "what has begun ends"
        replies = await asyncio.gather(*(one.site.post("/", content="return 1") for _ in range(12)))
        assert {reply.status_code for reply in replies} == {429}
        assert {reply.json()["errors"][0]["code"] for reply in replies} == {"too_many_requests"}
        assert all(1 <= int(reply.headers["retry-after"]) <= 400 for reply in replies)
        for slot in range(2):
            (name,) = names_on(slot, "burning", 1)
            call = {"params": {"type": "Runner", "name": name}, "json": {"method": "run", "args": ["return 1"]}}
            reply = await one.admin.http.post("/v1/actor/invoke", **call)
            assert reply.status_code == 503, reply.text
            assert "the quota of CPU time is used up for now" in reply.json()["errors"][0]["detail"]
        assert await other.run("return 1") == 1

        async def counted() -> bool:
            return await one.refusals("cpu_ms_per_minute") == len(replies) + 2

        await wait_until(counted, "the refusals in the tenant's usage")
        await set_quotas(process, "burning", cpu_ms_per_minute=None)
        assert await one.run("return 1") == 1


async def test_an_actor_beyond_a_tenants_quota_takes_the_place_of_an_idle_one_and_of_no_busy_one(
    process: HostProcess,
) -> None:
    async with serving() as origin, runner(process, "crowded") as one:
        await set_quotas(process, "crowded", activations=2)  # one in each worker
        (first, second), (elsewhere,) = names_on(0, "crowded", 2), names_on(1, "crowded", 1)

        async def in_memory(name: str) -> bool:
            reply = await one.admin.http.get("/v1/actor", params={"type": "Runner", "name": name})
            return bool(reply.raise_for_status().json()["in_memory"])

        store = "await ctx.storage.put('k', 1); return 'stored'"
        assert [await one.run(store, name) for name in (first, second, elsewhere)] == ["stored"] * 3
        assert [await in_memory(name) for name in (first, second, elsewhere)] == [False, True, True]

        hang = f"await fetch('http://{ADDRESS}:{origin.port}/hang', {{ signal: AbortSignal.timeout(1500) }})"
        busy = asyncio.create_task(one.run(f"{hang}; return 1", second))
        await asyncio.wait_for(origin.hanging.wait(), 10)
        call = {"params": {"type": "Runner", "name": first}, "json": {"method": "run", "args": ["return 1"]}}
        refused = await one.admin.http.post("/v1/actor/invoke", **call)
        assert refused.status_code == 503, refused.text
        assert "all actors that your quota lets be in memory are busy" in refused.json()["errors"][0]["detail"]
        assert await one.run("return await ctx.storage.get('k')", elsewhere) == 1
        assert (await busy)["error"] == "TimeoutError"
        assert await one.run("return await ctx.storage.get('k')", first) == 1
        assert [await in_memory(name) for name in (first, second)] == [True, False]
