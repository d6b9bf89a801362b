"""The control process dies, comes back, reloads and stops; workers go on. Clients notice nothing of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FUNCTIONS, GUESTS
from tests.kit.admin import Admin, Shipped
from tests.kit.process import HostProcess
from tests.kit.until import wait_until
from tests.kit.workers import LONG_S, Client, account_of, get_once, load, site_at

TENURE = str(Path(sys.executable).with_name("tenure"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """Two workers, two shards."""
    process = HostProcess(tmp_path / "data", flags=("--workers", "2"))
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def admin_knows(admin: Admin, count: int) -> bool:
    """Whether so many invocations are in the metrics: two for each request, the handler's and the actor's."""
    found = (await admin.http.get("/v1/functions/account/metrics?minutes=5")).json()
    return int(found["count"]) >= count


@pytest.fixture
async def account(host: HostProcess) -> Shipped:
    async with host.admin() as admin:
        return await admin.ship(FUNCTIONS / "account")


async def test_workers_serve_on_without_a_control_process_and_the_next_one_takes_them_over(
    host: HostProcess, account: Shipped
) -> None:
    async with site_at(host, account, 0) as one, site_at(host, account, 1) as other:
        clients = [Client(one, account_of(0)), Client(other, account_of(0, 1)), Client(one, account_of(1))]
        workers = host.workers()
        async with load(*clients):
            host.kill_control()
            seen = [client.done for client in clients]
            await wait_until(
                lambda: all(client.done > had + 50 for client, had in zip(clients, seen, strict=True)),
                "service",
                LONG_S,
            )
            assert (await get_once(host, account, "/health/liveness")).text == "ok"
            await asyncio.to_thread(host.start)
        assert [client.failed for client in clients] == [[], [], []]
        assert host.workers() == workers
        done = sum(client.done for client in clients) - sum(seen)
        async with host.admin() as admin:  # and they tell it what it missed, and follow it
            await wait_until(lambda: admin_knows(admin, 2 * done), "what went on meanwhile, in the metrics", LONG_S)
            hello = await admin.ship(FUNCTIONS / "hello")
            assert {(await get_once(host, hello, "/")).status_code for _ in range(8)} == {200}
        os.kill(workers[1], signal.SIGKILL)
        await wait_until(lambda: host.workers().get(1) not in (None, workers[1]), "a new worker", LONG_S)
    assert host.stop() == 0


async def test_a_control_process_with_other_settings_replaces_the_workers_it_finds_without_a_failed_request(
    host: HostProcess, account: Shipped
) -> None:
    async with site_at(host, account, 0) as one, site_at(host, account, 1) as other:
        clients = [Client(one, account_of(0)), Client(other, account_of(0, 1)), Client(one, account_of(1))]
        workers = host.workers()
        async with load(*clients):
            host.kill_control()
            host.flags = (*host.flags, "--max-activations", "500")
            await asyncio.to_thread(host.start)
            await wait_until(
                lambda: len(host.workers()) == 2 and not set(host.workers().values()) & set(workers.values()),
                "other workers",
                LONG_S,
            )
        assert [client.failed for client in clients] == [[], [], []]


async def test_another_number_of_workers_serves_the_same_shards(host: HostProcess, account: Shipped) -> None:
    names = [account_of(0), account_of(1)]
    for name in names:
        async with site_at(host, account, 0) as site:
            await site.post(f"/accounts/{name}/deposit", json={"amount": 5})
    for workers in ("1", "3"):
        host.kill_control()
        host.flags = ("--workers", workers)
        host.start()
        assert len(host.workers()) == int(workers)
        for name in names:
            assert (await get_once(host, account, f"/accounts/{name}/balance")).json()["balance"] == 5


async def test_reload_replaces_every_worker_without_a_failed_request(host: HostProcess, account: Shipped) -> None:
    async with site_at(host, account, 0) as one, site_at(host, account, 1) as other:
        clients = [
            Client(site, account_of(slot, number))
            for number, (site, slot) in enumerate(((one, 0), (one, 1), (other, 0), (other, 1)))
        ]
        workers = host.workers()
        async with load(*clients):
            command = [TENURE, "serve", "--reload", "--data", str(host.data)]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LONG_S)
            assert (done.returncode, done.stdout) == (0, "2 workers replaced\n")
        assert [client.failed for client in clients] == [[], [], [], []]
        assert not set(host.workers().values()) & set(workers.values())


async def test_sigterm_lets_what_was_begun_end_and_keeps_it(host: HostProcess, account: Shipped) -> None:
    async with host.admin() as admin:
        hostile = await admin.ship(GUESTS / "hostile")
    async with site_at(host, account, 0) as one, site_at(host, account, 1) as other:
        clients = [Client(one, account_of(1)), Client(other, account_of(0))]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        slow = asyncio.create_task(get_once(host, hostile, "/actors/slow/burn/300"))
        await wait_until(lambda: all(client.done > 10 for client in clients), "answers", LONG_S)
        await wait_until(lambda: host.status()["activations"] >= 3, "the slow call", LONG_S)
        for client in clients:
            client.going = False  # it has one more under way
        code = await asyncio.to_thread(host.stop)
        await asyncio.gather(*tasks)
        assert (code, (await slow).json()) == (0, {"value": "burned"})
        assert [client.failed for client in clients] == [[], []]
        host.start()
        for client in clients:
            reply = await get_once(host, account, f"/accounts/{client.name}/balance")
            assert reply.json()["balance"] == client.done


def test_a_second_control_process_on_the_same_data_is_refused(host: HostProcess) -> None:
    command = [TENURE, "serve", "--data", str(host.data), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert done.returncode == 1
    assert "is locked: another tenure is running on it" in done.stderr
    assert len(host.workers()) == 2


def test_an_address_that_is_taken_is_named(host: HostProcess, tmp_path: Path) -> None:
    address = f"127.0.0.1:{host.port}"
    command = [TENURE, "serve", "--data", str(tmp_path / "other"), "--listen", address, "--admin", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert (done.returncode, f"{address} or " in done.stderr, "in use" in done.stderr) == (1, True, True)


async def test_a_worker_that_dies_again_and_again_waits_and_a_neighbour_takes_its_requests(
    host: HostProcess, account: Shipped
) -> None:
    for _ in range(6):
        pid = await wait_until(lambda: host.workers().get(1), "a worker", LONG_S)
        os.kill(pid, signal.SIGKILL)
        if await wait_until(lambda pid=pid: _after(host, pid), "what comes of it", LONG_S) == "waiting":
            break
    assert host.status()["workers"][1]["state"] == "waiting"
    assert {(await get_once(host, account, "/health/liveness")).text for _ in range(8)} == {"ok"}
    await wait_until(lambda: host.status()["workers"][1]["state"] == "serving", "the worker", LONG_S)
    assert "worker_died slot=1" in host.log.read_text()


def _after(host: HostProcess, pid: int) -> str | None:
    """What the slot of a worker that was killed has come to, if that is settled."""
    worker = host.status()["workers"][1]
    return worker["state"] if worker["state"] in ("waiting", "serving") and worker["pid"] != pid else None


async def test_a_nursery_that_died_is_made_again_when_it_is_needed(host: HostProcess, account: Shipped) -> None:
    worker = host.workers()[1]
    nursery = _parent(worker)
    assert nursery != host.pid
    os.kill(nursery, signal.SIGKILL)
    assert (await get_once(host, account, "/health/liveness")).text == "ok"
    os.kill(worker, signal.SIGKILL)
    await wait_until(lambda: _after(host, worker) == "serving", "a worker of another nursery", LONG_S)
    assert {(await get_once(host, account, "/health/liveness")).text for _ in range(8)} == {"ok"}
    assert host.stop() == 0


def _parent(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])
