"""Splits on a host of two workers: no request fails while they change, and each actor is on one version."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.admin import Admin, Shipped
from tests.kit.bundles import bundle_of
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.releases import CLIENTS, RELEASES, Load, project_of
from tests.kit.until import wait_until

ACCOUNTS = [f"account-{number}" for number in range(6)]
MANY = [f"many-{number}" for number in range(40)]
STEPS = ({1: 90, 2: 10}, {1: 50, 2: 50}, {2: 1}, {1: 10, 2: 90}, {1: 1})


async def deploy(admin: Admin, function: str, weights: Mapping[int, int]) -> None:
    split = [{"version": number, "weight": weight} for number, weight in weights.items()]
    reply = await admin.http.post(f"/v1/functions/{function}/deployments", json={"split": split})
    assert reply.status_code == 201, reply.text


async def releases_of(site: Site) -> dict[str, str]:
    """Which release each of MANY is on."""

    async def ask(name: str) -> str:
        (release,) = set((await site.post(f"/{name}")).json()["seen"])
        return str(release)

    return dict(zip(MANY, await asyncio.gather(*map(ask, MANY)), strict=True))


@pytest.mark.timeout(120)
async def test_splits_change_in_a_loop_under_load_on_two_workers(tmp_path: Path) -> None:
    """One host for all claims about splits: it takes longer to start than to ask."""
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    process.start()
    try:
        async with process.admin() as admin:
            made = await admin.create("deploys")
            bundles = [bundle_of(project_of(one, tmp_path), made["id"], made["name"]) for one in RELEASES]
            shipped = Shipped(made["id"], made["name"], made["url"], await admin.deploy(made["id"], bundles[0]))
            site = Site(f"http://127.0.0.1:{process.port}", shipped.host)
            try:
                await _ship_without_deploying(admin, shipped.id, bundles[1], site)
                await _no_request_fails(admin, shipped.id, site)
                await _each_actor_is_on_one_version(admin, shipped.id, site)
            finally:
                await site.close()
    finally:
        process.kill()


async def _ship_without_deploying(admin: Admin, function: str, bundle: bytes, site: Site) -> None:
    headers = {"content-type": "application/zip"}
    reply = await admin.http.post(f"/v1/functions/{function}/versions?deploy=false", content=bundle, headers=headers)
    assert reply.status_code == 202, reply.text
    await admin.settled(function, 2)
    assert set((await site.get("/")).json()["handler"]) == {"one"}


async def _no_request_fails(admin: Admin, function: str, site: Site) -> None:
    async with Load(site, ACCOUNTS) as load:
        for weights in STEPS * 2:
            await deploy(admin, function, weights)
            before = sum(load.turns.values())
            await wait_until(lambda: sum(load.turns.values()) > before + CLIENTS, "turns under this split")  # noqa: B023
    assert load.wrong == []
    for seen in (load.turns, load.handlers):
        assert set(seen) == set(RELEASES), seen
    for account in ACCOUNTS:
        look = (await site.get(f"/{account}")).json()
        assert look["balance"] == load.acknowledged[account]
        assert look["began"] == look["ended"]


async def _each_actor_is_on_one_version(admin: Admin, function: str, site: Site) -> None:
    placed = []
    for weights in ({1: 80, 2: 20}, {1: 40, 2: 60}):
        await deploy(admin, function, weights)
        placed.append(await releases_of(site))
        for _ in range(2):
            assert await releases_of(site) == placed[-1]
        assert set(Counter(placed[-1].values())) == set(RELEASES)
    moved = [name for name in MANY if placed[0][name] != placed[1][name]]
    assert moved
    assert {placed[1][name] for name in moved} == {"two"}
