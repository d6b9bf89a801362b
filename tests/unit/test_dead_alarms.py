"""Dead alarms on a whole host whose clock the test moves: listed, kept from other tenants, put back, settled."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from host import server
from host.actors.alarms import RETRIES_MAX, RETRY_FIRST_MS
from host.model.clock import ManualClock
from host.model.ids import ActorId
from host.storage import keys
from tests.conftest import GUESTS, SESSION, admin_of, config_in
from tests.kit.http import Site
from tests.kit.until import wait_until

pytestmark = SESSION

RETRY_LAST_S = RETRY_FIRST_MS / 1000 * 2 ** (RETRIES_MAX - 1)
FAILING = [["throw", "Error", "the mail server said no"]]


class World:
    """A tenant of its own for each test, on a host that all tests of this module share, with the clock they move."""

    def __init__(self, host: server.Host, clock: ManualClock, tenant: str, key: str) -> None:
        self.host, self.clock, self.tenant, self.key = host, clock, tenant, key
        self.admin = admin_of(host, key)
        self.http = self.admin.http

    async def ship(self) -> Site:
        return Site(self.host.control.listen_url, (await self.admin.ship(GUESTS / "actors")).host)

    async def alarms(self, query: str = "") -> list[dict[str, Any]]:
        reply = await self.http.get(f"/v1/alarms?{query}")
        reply.raise_for_status()
        found: list[dict[str, Any]] = reply.json()["alarms"]
        return found

    async def retry(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/alarms/retry", json=body)

    def has_dead(self, name: str) -> bool:
        engine = self.host.worker.cluster.shards[0].directory.engine
        return engine.get(keys.dead_alarm_key(ActorId(self.tenant, "Probe", name))) is not None

    async def until_dead(self, *names: str) -> None:
        """Let time pass until the alarms of these actors have had all their retries."""

        def probe() -> bool:
            if all(self.has_dead(name) for name in names):
                return True
            self.pass_time()
            return False

        await wait_until(probe, "the dead alarms", 30)

    def pass_time(self) -> None:
        """Up to the next try of every alarm, unless one is under way (its handler has a time limit)."""
        if not self.host.worker.cluster.shards[0].alarms.waiting:
            self.clock.advance(RETRY_LAST_S)


_tenants = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def still_host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[server.Host, ManualClock]]:
    """A host whose time stands still until a test moves it."""
    clock = ManualClock()
    async with server.running(config_in(tmp_path_factory.mktemp("still")), clock) as host:
        yield host, clock


async def new_world(host: server.Host, clock: ManualClock) -> World:
    tenant = f"tenant-{next(_tenants)}"
    await host.control.registry.create_tenant(tenant)
    return World(host, clock, tenant, await host.control.registry.create_key(tenant, "ci", "tenant"))


@pytest_asyncio.fixture(loop_scope="session")
async def world(still_host: tuple[server.Host, ManualClock]) -> AsyncIterator[World]:
    world = await new_world(*still_host)
    yield world
    await world.http.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def site(world: World) -> AsyncIterator[Site]:
    site = await world.ship()
    yield site
    await site.close()


async def on(site: Site, actor: str, *steps: list[Any]) -> list[Any]:
    """Run steps in the actor."""
    reply = await site.post("/", json=[["call", "PROBE", actor, "run", [list(steps)]]])
    assert reply.status_code == 200, reply.text
    (results,) = reply.json()
    return list(results)


async def arm(site: Site, *actors: str) -> None:
    """Set an alarm for now whose handler throws."""
    for actor in actors:
        await on(site, actor, ["put", "on-alarm", FAILING], ["setAlarmIn", 0])


async def test_an_alarm_is_dead_after_its_retries_and_says_why(world: World, site: Site) -> None:
    began = world.clock.now()
    await arm(site, "alice")
    assert await world.alarms() == []
    await world.until_dead("alice")
    (dead,) = await world.alarms("state=dead")
    assert list(dead) == ["type", "name", "due_at", "failed_at", "error", "message"]
    assert (dead["type"], dead["name"], dead["error"]) == ("Probe", "alice", "ActorMethodError")
    assert dead["message"] == "the mail server said no"
    assert dead["due_at"] <= dead["failed_at"]
    assert world.clock.now() - began >= 1000 * (2**RETRIES_MAX - 1)
    assert await world.alarms("state=waiting") == []


async def test_a_retried_alarm_fires_at_once_with_no_retries_counted(world: World, site: Site) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    await on(site, "alice", ["delete", "on-alarm"], ["delete", "fired"])
    reply = await world.retry(type="Probe", name="alice")
    assert (reply.status_code, reply.json()) == (200, {"retried": 1, "more": False})
    assert await world.alarms() == []

    async def fired() -> Any:
        world.clock.advance(0.001)
        return (await on(site, "alice", ["get", "fired"]))[0]

    ((_, retry_count, is_retry),) = await wait_until(fired, "the alarm")
    assert (retry_count, is_retry) == (0, False)
    assert await world.alarms() == []
    assert await world.alarms("state=waiting") == []
    assert (await world.retry(type="Probe", name="alice")).status_code == 404


async def test_a_retried_alarm_that_fails_again_is_dead_again(world: World, site: Site) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    (first,) = await world.alarms()
    await world.retry(type="Probe", name="alice")
    assert not world.has_dead("alice")
    await world.until_dead("alice")
    (second,) = await world.alarms()
    assert second["failed_at"] > first["failed_at"]
    assert len((await on(site, "alice", ["get", "fired"]))[0] or []) == 0  # failing turns commit nothing


async def test_a_retry_is_durable_when_it_is_acknowledged(world: World, site: Site) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    before = world.host.worker.cluster.shards[0].committer.synced
    await world.retry(type="Probe", name="alice")
    assert world.host.worker.cluster.shards[0].committer.synced > before
    assert not world.has_dead("alice")


@pytest.mark.parametrize("steps", [["setAlarmIn", 3_600_000], ["deleteAlarm"]])
async def test_an_actor_that_decides_about_its_alarm_has_no_dead_one(
    world: World, site: Site, steps: list[Any]
) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    await on(site, "alice", ["put", "other", 1])
    assert world.has_dead("alice")
    await on(site, "alice", steps)
    assert await world.alarms() == []
    reply = await world.retry(type="Probe", name="alice")
    assert reply.status_code == 404
    assert "has no dead alarm" in reply.json()["errors"][0]["detail"]
    assert len(await world.alarms("state=waiting")) == (steps[0] == "setAlarmIn")


async def test_a_turn_that_fails_leaves_the_dead_alarm(world: World, site: Site) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    steps = [["setAlarmIn", 1], ["throw", "Error", "no"]]
    await site.post("/", json=[["call", "PROBE", "alice", "run", [steps]]])
    assert world.has_dead("alice")


async def test_an_alarm_put_back_during_a_turn_survives_that_turn(world: World, site: Site) -> None:
    await arm(site, "alice")
    await world.until_dead("alice")
    turn = asyncio.create_task(site.post("/", json=[["call", "PROBE", "alice", "hold", ["slow", 5_000]]]))
    await wait_until(lambda: world.host.worker.scheduler.calls >= 2, "the turn")
    assert (await world.retry(type="Probe", name="alice")).status_code == 200
    await on_clock(world, turn)
    await world.until_dead("alice")


async def on_clock(world: World, task: asyncio.Task[Any]) -> None:
    """Let time pass until the task is done."""

    def probe() -> bool:
        world.clock.advance(0.5)
        return task.done()

    await wait_until(probe, "the turn's end")
    assert task.result().status_code == 200


async def test_all_dead_alarms_of_a_type_are_put_back(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "b", "c", "d", "e"]
    await arm(site, *names)
    await world.until_dead(*names)
    monkeypatch.setattr("host.actors.dead.RETRIES_PER_REQUEST_MAX", 3)
    assert (await world.retry(type="Other", all=True)).json() == {"retried": 0, "more": False}
    assert (await world.retry(type="Probe", all=True)).json() == {"retried": 3, "more": True}
    assert [alarm["name"] for alarm in await world.alarms()] == ["d", "e"]
    assert (await world.retry(type="Probe", all=True)).json() == {"retried": 2, "more": False}
    assert await world.alarms() == []


async def test_pages_go_on_where_the_last_one_ended(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["", "a\0b", "a", "zoë", "z"][1:]
    for name in names:
        await on(site, name, ["setAlarmIn", 1_000])
    for index in range(7):
        await on(site, f"no-alarm-{index}", ["put", "k", 1])
    for limits in ({}, {"host.actors.dead._CHUNK": 2, "host.actors.dead.ACTORS_PER_PAGE_MAX": 4}):
        for target, value in limits.items():
            monkeypatch.setattr(target, value)
        assert await pages(world, "state=waiting&limit=1") == sorted(names)
        assert await pages(world, "state=waiting&type=Probe") == sorted(names)
        assert await pages(world, "state=waiting&type=Prob") == []
    await arm(site, *names)
    await world.until_dead(*names)
    assert await pages(world, "limit=1") == sorted(names)
    assert await pages(world, "limit=3&type=Probe") == sorted(names)
    assert await pages(world, "type=Account") == []


async def pages(world: World, query: str) -> list[str]:
    """The names on all pages, in the order in which they came."""
    names: list[str] = []
    cursor = ""
    for _ in range(20):
        page = (await world.http.get(f"/v1/alarms?{query}&cursor={cursor}")).json()
        names += [alarm["name"] for alarm in page["alarms"]]
        if not (cursor := page["next"] or ""):
            return names
    raise AssertionError("the pages do not end")


async def test_a_waiting_alarm_shows_when_it_is_due_and_its_retries(world: World, site: Site) -> None:
    await on(site, "far", ["setAlarm", 8.64e15])
    await arm(site, "alice")

    async def retried() -> list[dict[str, Any]]:
        world.clock.advance(0.5)
        return [one for one in await world.alarms("state=waiting") if one["name"] == "alice" and one["retries"] == 2]

    (alice,) = await wait_until(retried, "the second retry")
    assert list(alice) == ["type", "name", "due_at", "retries"]
    far = next(one for one in await world.alarms("state=waiting") if one["name"] == "far")
    assert far["due_at"] == "9999-12-31T23:59:59.999Z"


async def test_a_tenant_sees_and_retries_its_own_alarms_only(world: World, site: Site) -> None:
    acme = await new_world(world.host, world.clock)
    other = await acme.ship()
    await arm(site, "alice", "bob")
    assert await acme.alarms("state=waiting") == []
    await arm(other, "alice")
    await world.until_dead("alice", "bob")
    await acme.until_dead("alice")
    assert [one["name"] for one in await acme.alarms()] == ["alice"]
    assert [one["name"] for one in await world.alarms()] == ["alice", "bob"]
    assert (await acme.retry(type="Probe", name="bob")).status_code == 404
    cursor = (await world.http.get("/v1/alarms?limit=1")).json()["next"]
    assert await acme.alarms(f"cursor={cursor}") == []
    assert (await acme.retry(type="Probe", all=True)).json()["retried"] == 1
    assert [one["name"] for one in await world.alarms()] == ["alice", "bob"]
    await other.close()
    await acme.http.aclose()


@pytest.mark.parametrize("query", ["state=live", "limit=0", "cursor=x", "cursor=%00", "cursor=WzFd", "cursor=bnVsbA"])
async def test_a_list_that_cannot_be_is_refused(world: World, query: str) -> None:
    assert (await world.http.get(f"/v1/alarms?{query}")).status_code == 400


@pytest.mark.parametrize(
    "body", [{}, {"type": "T"}, {"type": "T", "name": ""}, {"type": "T", "name": "n", "all": True}, {"all": True}]
)
async def test_a_retry_names_one_actor_or_all(world: World, body: dict[str, Any]) -> None:
    assert (await world.retry(**body)).status_code == 400


async def test_without_a_key_there_are_no_alarms(world: World) -> None:
    for method, path in (("GET", "/v1/alarms"), ("POST", "/v1/alarms/retry")):
        assert (await world.http.request(method, path, headers={"authorization": "Bearer no"})).status_code == 401


async def test_the_command_line_lists_and_retries(world: World, site: Site) -> None:
    await on(site, "later", ["setAlarmIn", 3_600_000])
    await arm(site, "alice", "bob")
    await world.until_dead("alice", "bob")
    code, out, _ = await tenure(world, "alarms", "list", "--json")
    assert (code, [one["name"] for one in json.loads(out)]) == (0, ["later"])
    code, out, _ = await tenure(world, "alarms", "list", "--dead")
    assert code == 0
    assert "alice" in out
    assert "ActorMethodError: the mail server said no" in out
    code, out, _ = await tenure(world, "alarms", "retry", "Probe", "alice")
    assert (code, out) == (0, "The alarm of Probe 'alice' fires now.\n")
    code, out, _ = await tenure(world, "alarms", "retry", "Probe", "--all", "--json")
    assert (code, json.loads(out)) == (0, {"retried": 1})
    code, out, err = await tenure(world, "alarms", "retry", "Probe", "alice")
    assert (code, out) == (1, "")
    assert "`tenure alarms list --dead`" in err
    assert (await tenure(world, "alarms", "retry", "Probe"))[0] == 2
    assert (await tenure(world, "alarms", "retry", "Probe", "--all"))[0] == 1


async def tenure(world: World, *arguments: str) -> tuple[int, str, str]:
    """Run the command; (exit code, stdout, stderr)."""
    environ = {**os.environ, "TENURE_ENDPOINT": world.host.control.admin_url, "TENURE_API_KEY": world.key}
    command = [str(Path(sys.executable).with_name("tenure")), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr
