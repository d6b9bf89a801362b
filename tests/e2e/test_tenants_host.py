"""Tenants and their secrets on a whole host of two workers: real guests, real files, a real SIGKILL."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import GUESTS
from tests.kit.admin import Admin
from tests.kit.http import Site
from tests.kit.process import HostProcess

SECRETIVE = GUESTS / "secretive"
VALUE, NEXT = "sk_live_first-51H8-nowhere-in-a-file", "sk_live_second-93K2-nowhere-in-a-file"
NAMES = [f"keeper-{number}" for number in range(20)]


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[HostProcess]:
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    await asyncio.to_thread(process.start)
    try:
        yield process
    finally:
        process.kill()


async def new_tenant(process: HostProcess, tenant: str) -> str:
    """A key of a new tenant."""
    async with process.admin() as operator:
        (await operator.http.post("/v1/tenants", json={"id": tenant})).raise_for_status()
        made = await operator.http.post(f"/v1/tenants/{tenant}/keys", json={"name": "ci", "scope": "deploy"})
        key: str = made.raise_for_status().json()["key"]
        return key


async def put_secret(admin: Admin, value: str) -> None:
    (await admin.http.put("/v1/secrets/stripe-key", json={"value": value})).raise_for_status()


async def test_a_secret_is_where_it_is_read_and_nowhere_else(process: HostProcess, tmp_path: Path) -> None:
    async with process.admin(await new_tenant(process, "acme")) as admin:
        await put_secret(admin, VALUE)
        site = Site(f"http://127.0.0.1:{process.port}", (await admin.ship(SECRETIVE)).host)
        assert (await site.get("/secret")).json() == VALUE
        assert [(await site.get(f"/{name}/secret")).json() for name in NAMES[:4]] == [VALUE] * 4

        done, replies = asyncio.Event(), list[httpx.Response]()

        async def ask() -> None:
            while not done.is_set():
                replies.append(await site.get("/secret"))

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        await put_secret(admin, NEXT)
        assert (await site.get("/secret")).json() == NEXT, "in force when the reply came"
        assert [(await site.get(f"/{name}/secret")).json() for name in NAMES[:4]] == [NEXT] * 4
        done.set()
        await asyncio.gather(*asking)
        assert {reply.status_code for reply in replies} == {200}, "no request failed because of it"
        await site.close()
    async with process.admin() as operator:
        rotated = asyncio.create_task(operator.http.post("/v1/secrets-key/rotate"))
        await asyncio.to_thread(process.kill)
        with suppress(httpx.HTTPError):
            await rotated
    await asyncio.to_thread(process.start)
    site = Site(f"http://127.0.0.1:{process.port}", site.host)
    assert (await site.get("/secret")).json() == NEXT
    await site.close()
    assert await asyncio.to_thread(process.stop) == 0
    files = {path: path.read_bytes() for path in (*process.data.rglob("*"), process.log) if path.is_file()}
    assert any(b"stripe-key" in data for data in files.values()), "the search finds what is there"
    for value in (VALUE.encode(), NEXT.encode()):
        for form in (value, base64.b64encode(value)[:-4]):
            assert [path for path, data in files.items() if form in data] == []


async def test_a_suspended_tenant_answers_503_and_goes_on_where_it_was(process: HostProcess) -> None:
    async with process.admin(await new_tenant(process, "acme")) as admin, process.admin() as operator:
        site = Site(f"http://127.0.0.1:{process.port}", (await admin.ship(SECRETIVE)).host)
        assert (await site.post("/a")).json() == 1
        (await operator.http.post("/v1/tenants/acme/suspend")).raise_for_status()
        for path in ("/a", "/secret"):
            reply = await site.post(path)
            assert (reply.status_code, reply.json()["errors"][0]["code"]) == (503, "unavailable")
            assert "suspended" in reply.json()["errors"][0]["detail"]
        assert (await admin.http.get("/v1/whoami")).status_code == 403
        (await operator.http.post("/v1/tenants/acme/resume")).raise_for_status()
        assert (await site.post("/a")).json() == 2
        await site.close()


async def test_a_tenant_that_is_deleted_leaves_nothing_to_the_next_one_of_its_name(process: HostProcess) -> None:
    for _ in range(2):
        async with process.admin(await new_tenant(process, "acme")) as admin, process.admin() as operator:
            site = Site(f"http://127.0.0.1:{process.port}", (await admin.ship(SECRETIVE)).host)
            assert [(await site.post(f"/{name}")).json() for name in NAMES] == [1] * len(NAMES)
            waiting = (await admin.http.get("/v1/alarms?state=waiting")).json()["alarms"]
            assert len(waiting) == len(NAMES)
            (await operator.http.delete("/v1/tenants/acme")).raise_for_status()
            assert (await site.post("/a")).status_code == 404
            assert (await admin.http.get("/v1/whoami")).status_code == 401
            await site.close()
    async with process.admin(await new_tenant(process, "acme")) as admin:
        assert (await admin.http.get("/v1/alarms?state=waiting")).json()["alarms"] == []


async def test_without_its_key_a_host_says_what_to_do_and_does_not_start(process: HostProcess) -> None:
    async with process.admin(await new_tenant(process, "acme")) as admin:
        await put_secret(admin, VALUE)
    assert await asyncio.to_thread(process.stop) == 0
    kept = process.data.parent / "kept.key"
    shutil.move(process.data / "secrets.key", kept)
    with pytest.raises(AssertionError, match="Put the key back"):
        await asyncio.to_thread(process.start)
    shutil.move(kept, process.data / "secrets.key")
    await asyncio.to_thread(process.start)
