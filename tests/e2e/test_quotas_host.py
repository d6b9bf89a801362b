"""Quotas on a whole host of two workers: what clients and guests are told, for whom, and what a SIGKILL leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.registry.usage import WRITE_S
from tests.kit.admin import Admin, Json
from tests.kit.bundles import ROOT
from tests.kit.http import Site
from tests.kit.process import HostProcess

ACCOUNT = ROOT / "functions" / "account"
RATE = 20


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[HostProcess]:
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    await asyncio.to_thread(process.start)
    try:
        yield process
    finally:
        process.kill()


async def site_of(process: HostProcess, tenant: str) -> tuple[Admin, Site]:
    async with process.admin() as operator:
        (await operator.http.post("/v1/tenants", json={"id": tenant})).raise_for_status()
        made = await operator.http.post(f"/v1/tenants/{tenant}/keys", json={"name": "ci", "scope": "deploy"})
    admin = Admin(process.admin_url, made.raise_for_status().json()["key"])
    return admin, Site(f"http://127.0.0.1:{process.port}", (await admin.ship(ACCOUNT)).host)


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
