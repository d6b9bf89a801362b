"""The egress process of a real host: all fetches leave through it, it trusts no worker, and it may come and go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from host.bindings.egress import RemoteFetcher
from host.bindings.ports import Ask, Refused
from host.cluster.peer import Peer
from host.model.message import HttpRequest
from host.supervisor.spec import EGRESS_SOCKET
from tests.conftest import GUESTS
from tests.guests.outbound.origin import ADDRESS, Origin, serving
from tests.kit.bundles import component_of, manifest_text, zip_of
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.until import wait_until

PROJECT = GUESTS / "outbound"
DEADLINE_S = 10.0
LONG_S = 30.0


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostProcess]:
    """Two workers, whose guests may reach the origin."""
    monkeypatch.setenv("TENURE_OUTBOUND_PERMITTED", f"{ADDRESS}/32")
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
async def site(host: HostProcess) -> AsyncIterator[Site]:
    """Runs code in a guest that may fetch from the origin and, as far as its manifest goes, from loopback."""
    async with host.admin() as admin:
        function = await admin.create("open")
        text = manifest_text(PROJECT).replace('name = "outbound"', 'name = "open"', 1)
        text += f'\n[edge_compute]\nfunc_id = "{function["id"]}"\nfunc_name = "open"\n'
        text += f"\n[outbound]\nallow = {json.dumps([ADDRESS, '127.0.0.1'])}\n"
        files = {"tenure.toml": text.encode(), "component.wasm": component_of(PROJECT).read_bytes()}
        await admin.deploy(function["id"], zip_of(files))
    site = Site(f"http://127.0.0.1:{host.port}", function["url"].removeprefix("http://"))
    yield site
    await site.close()


async def run(site: Site, code: str) -> Any:
    reply = await site.post("/", content=code)
    assert reply.status_code == 200, reply.text
    return reply.json()


def egress_of(host: HostProcess) -> int:
    """Its process."""
    egress = host.status()["egress"]
    assert egress is not None, host.log_tail()
    return int(egress["pid"])


async def another_egress(host: HostProcess, before: int) -> None:
    await wait_until(
        lambda: host.status()["egress"] is not None and egress_of(host) != before, "another egress", LONG_S
    )


async def test_a_fetch_leaves_through_the_egress_process_and_outlives_only_itself(
    host: HostProcess, site: Site, origin: Origin
) -> None:
    url = f"http://{ADDRESS}:{origin.port}"
    body = "x" * 1_000_000
    code = f"return (await (await fetch('{url}/echo', {{method: 'POST', body: 'é'}})).json()).body"
    assert await run(site, code) == "é".encode().decode("latin-1")
    long = f"return (await (await fetch('{url}/echo', {{method:'POST', body: 'x'.repeat({len(body)})}})).json()).body"
    assert await run(site, long) == body
    before = egress_of(host)
    hanging = asyncio.create_task(run(site, f"return (await fetch('{url}/hang')).status"))
    await asyncio.wait_for(origin.hanging.wait(), DEADLINE_S)
    os.kill(before, signal.SIGKILL)
    said = await hanging
    assert said == {"error": "TypeError", "message": "fetch failed: the connection failed"}
    assert await run(site, f"return (await fetch('{url}/echo')).status") == 200
    await another_egress(host, before)
    assert host.status()["egress"]["restarts"] == 1


async def test_an_aborted_fetch_closes_its_connection_in_the_egress_process(
    host: HostProcess, site: Site, origin: Origin
) -> None:
    origin.gone.clear()
    code = (
        f"return (await fetch('http://{ADDRESS}:{origin.port}/hang', {{ signal: AbortSignal.timeout(1000) }})).status"
    )
    aborted = asyncio.create_task(run(site, code))
    await asyncio.wait_for(origin.hanging.wait(), DEADLINE_S)
    assert (await aborted)["error"] == "TimeoutError"
    await asyncio.wait_for(origin.gone.wait(), DEADLINE_S)
    await wait_until(lambda: host.status()["egress"]["under_way"] == 0, "nothing under way", LONG_S)


async def test_a_worker_that_was_taken_over_reaches_no_private_address_either(host: HostProcess) -> None:
    """This test asks as such a worker could: with a manifest of its own making."""
    peer = Peer(host.data / "run" / EGRESS_SOCKET, 0, {})
    fetcher = RemoteFetcher(peer)
    fetcher.start()
    for url in (f"http://127.0.0.1:{host.admin_port}/v1/status", "http://169.254.169.254/", "http://[::1]/"):
        allow = ("127.0.0.1", "169.254.169.254", "[::1]")
        with pytest.raises(Refused, match="resolves to an address that functions may not reach"):
            await fetcher.fetch(Ask(HttpRequest("GET", url), allow, "follow", 5.0, 1_000))
    with pytest.raises(Refused, match="file: is not fetched"):
        await fetcher.fetch(Ask(HttpRequest("GET", "file:///etc/passwd"), ("",), "follow", 5.0, 1_000))
    await fetcher.close()


async def test_the_next_control_process_has_an_egress_process_of_its_own_and_ends_the_old_one(
    host: HostProcess, site: Site, origin: Origin
) -> None:
    url = f"http://{ADDRESS}:{origin.port}/echo"
    before, workers = egress_of(host), host.workers()
    pidfd = os.pidfd_open(before)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    host.kill_control()
    assert await run(site, f"return (await fetch('{url}')).status") == 200  # it serves on, like the workers
    await asyncio.to_thread(host.start)
    await asyncio.wait_for(ended.wait(), LONG_S)
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    assert host.workers() == workers
    assert egress_of(host) != before
    assert await run(site, f"return (await fetch('{url}')).status") == 200
    assert host.stop() == 0
    assert not (host.data / "run" / EGRESS_SOCKET).exists()
