"""Worker processes that die, and hosts that stop: who notices, for how long, and what is kept. All kills are real."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from host.model.ids import ActorId
from host.registry.records import DEFAULT_TENANT
from host.storage.layout import shard_of
from host.supervisor.marks import of_slot, open_marks
from tests.conftest import FUNCTIONS, GUESTS
from tests.kit.admin import Shipped
from tests.kit.http import Site
from tests.kit.process import HostProcess
from tests.kit.until import wait_until
from tests.kit.workers import LONG_S, Client, account_of, get_once, load, site_at

_LIBC = ctypes.CDLL(None)
BACK_S = 1.0
"""What the kill of a worker may cost those who use it."""

QUIET_PATH = "/handler/lines/1"
"""What the hostile guest does without harm."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """Two workers, two shards."""
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
async def account(host: HostProcess) -> Shipped:
    async with host.admin() as admin:
        return await admin.ship(FUNCTIONS / "account")


async def back(host: HostProcess, slot: int, pid: int) -> None:
    """Until another worker than `pid` serves the slot."""

    def shown() -> bool:
        worker = host.status()["workers"][slot]
        return bool(worker["state"] == "serving" and worker["pid"] != pid)

    await wait_until(shown, "a new worker", LONG_S)


async def test_a_killed_worker_is_back_within_a_second_and_requests_of_the_others_do_not_fail(
    host: HostProcess, account: Shipped
) -> None:
    async with site_at(host, account, 0) as beside, site_at(host, account, 1) as struck:
        stays = Client(beside, account_of(0))
        waits = Client(Site(beside.url, beside.host), account_of(1))  # its connection, its actor or both were there
        lose = [Client(struck, account_of(1, number)) for number in range(1, 9)]
        pid = host.workers()[1]
        async with load(stays, waits, *lose):
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await back(host, 1, pid)
        assert stays.failed == []
        assert any(client.failed for client in lose), "the kill struck nobody"
        for client in (waits, *lose):
            assert client.longest_wait(killed) < BACK_S
        assert host.status()["workers"][1]["restarts"] == 1
        await waits.site.close()


async def test_a_call_that_a_dying_worker_was_running_fails_with_a_clear_error(host: HostProcess) -> None:
    async with host.admin() as admin:
        hostile = await admin.ship(GUESTS / "hostile")
    names = (f"sleeper-{each}" for each in range(100))
    name = next(name for name in names if shard_of(ActorId(DEFAULT_TENANT, "Hostile", name), 2) == 1)
    async with site_at(host, hostile, 0, QUIET_PATH) as site:
        asking = asyncio.create_task(site.get(f"/actors/{name}/sleep"))
        await wait_until(lambda: host.status()["activations"] == 1, "the sleeper", LONG_S)
        os.kill(host.workers()[1], signal.SIGKILL)
        reply = await asking
        message = "the worker that ran it has died: whether it was done is unknown"
        assert reply.json() == {"error": "ActorCrashedError", "message": message}


def caught(pid: int, doing: Callable[[], bool]) -> bool:
    """Stop the process. If it was not `doing` it then, it goes on: a guest that spins is polled slice by slice."""
    os.kill(pid, signal.SIGSTOP)
    while any(not is_stopped(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        os.sched_yield()
    if not doing():
        os.kill(pid, signal.SIGCONT)
        return False
    return True


def abort(pid: int) -> None:
    """Let a stopped process end as the engine does when it finds itself broken. Each thread gets the signal: one that
    the process gets is one thread's, and the guest's would run on for a moment and may leave its guest.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        assert _LIBC.tgkill(pid, int(task.name), signal.SIGABRT) == 0
    os.kill(pid, signal.SIGCONT)


def is_stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_a_version_whose_guest_crashes_workers_is_quarantined_until_it_is_released(host: HostProcess) -> None:
    marks = open_marks(host.data / "run", 2)
    async with host.admin() as admin:
        hostile, account = await admin.ship(GUESTS / "hostile"), await admin.ship(FUNCTIONS / "account")
        async with site_at(host, account, 0) as beside:
            good = Client(beside, account_of(0))
            async with load(good):
                for _ in range(3):
                    async with site_at(host, hostile, 1, QUIET_PATH) as site:
                        pid = host.workers()[1]
                        spinning = asyncio.create_task(site.get("/handler/spin"))
                        await wait_until(partial(caught, pid, lambda: any(of_slot(marks, 1))), "the guest", LONG_S)
                        abort(pid)
                        with pytest.raises((OSError, asyncio.IncompleteReadError)):
                            await spinning
                        await back(host, 1, pid)
            assert good.failed == []
        for _ in range(8):
            refused = await get_once(host, hostile, QUIET_PATH)
            assert refused.status_code == 503
            assert "quarantine" in refused.json()["errors"][0]["detail"]
        assert host.status()["quarantined"] == ["default/hostile version 1"]
        shown = await admin.function("hostile")
        assert (shown["quarantined"], "quarantine" in shown["unavailable"]) == (True, True)

        host.kill()
        host.start()  # it is kept
        assert (await get_once(host, hostile, QUIET_PATH)).status_code == 503
        (await admin.http.post("/v1/functions/hostile/release")).raise_for_status()
        assert (await get_once(host, hostile, QUIET_PATH)).status_code == 200
        assert host.status()["quarantined"] == []
