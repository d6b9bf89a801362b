"""A whole host with several workers, as its users see it: one set of actors, whichever worker a request comes to."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kit.bundles import ROOT
from tests.kit.http import Site
from tests.kit.process import HostProcess

GUEST = ROOT / "tests" / "guests" / "actors"
NAMES = [f"actor-{number}" for number in range(8)]


@asynccontextmanager
async def serving(host: HostProcess, shipped: str = "") -> AsyncIterator[Site]:
    """The host, started, and a client of the guest that runs scripts, which is shipped unless it was, as `shipped`."""
    try:
        await asyncio.to_thread(host.start)
        if not shipped:
            async with host.admin() as admin:
                shipped = (await admin.ship(GUEST)).host
        site = Site(f"http://127.0.0.1:{host.port}", shipped)
        yield site
        await site.close()
    finally:
        await asyncio.to_thread(host.stop)


async def run(site: Site, *steps: list[Any]) -> Any:
    """The script's results, run by the handler in whichever worker took the request."""
    reply = await site.post("/", content=json.dumps(steps))
    assert reply.status_code == 200, reply.text
    return reply.json()


def call(name: str, *steps: list[Any]) -> list[Any]:
    return ["call", "PROBE", name, "run", [list(steps)]]


async def test_a_ring_over_workers_is_told_to_http_clients_at_once(tmp_path: Path) -> None:
    async with serving(HostProcess(tmp_path / "data", flags=["--workers", "3"])) as site:
        await asyncio.gather(*(run(site, call(name, ["put", "k", name])) for name in NAMES))
        started = time.monotonic()
        pairs = list(zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True))  # each calls the next: one ring of them all
        results = await asyncio.gather(
            *(run(site, call(own, ["pause", 150], ["try", call(other, ["put", "by", own])])) for own, other in pairs)
        )
        assert time.monotonic() - started < 5.0
        outcomes = [steps[0][1] for steps in results]
        (failed,) = [outcome for outcome in outcomes if "name" in outcome]
        assert failed["name"] == "ActorDeadlockError"
        assert all(f"Probe/{name}" in failed["message"] for name in NAMES)


async def test_actors_are_all_there_with_another_number_of_shards_and_of_workers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(HostProcess(data, flags=["--workers", "2"])) as site:
        await asyncio.gather(*(run(site, call(name, ["put", "k", name])) for name in NAMES))
        refused = await asyncio.to_thread(_reshard, data, 5)
        assert refused.returncode == 1
        assert "another tenure is running" in refused.stderr
    done = await asyncio.to_thread(_reshard, data, 5)
    assert (done.returncode, "2 → 5 shards" in done.stdout) == (0, True), done.stderr
    async with serving(HostProcess(data, flags=["--workers", "3"]), site.host) as site:
        found = await asyncio.gather(*(run(site, call(name, ["get", "k"])) for name in NAMES))
        assert found == [[[name]] for name in NAMES]


def _reshard(data: Path, shards: int) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("tenure")), "data", "reshard", str(shards), "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
