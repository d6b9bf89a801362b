"""What a function logged can be read, filtered and followed; it outlives the host, and goes with the function."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from host import server
from host.admin.logs import SILENCE_S
from host.cli.commands.logs import shown
from host.config import ServeConfig
from tests.conftest import GUESTS, Ship, admin_of, shipping_to
from tests.kit.admin import Admin
from tests.kit.http import Site
from tests.kit.until import wait_until

Line = dict[str, Any]


@pytest.fixture
async def site(ship: Ship) -> Site:
    return await ship(GUESTS / "observed")


async def read(admin: Admin, **params: Any) -> list[Line]:
    return list((await page(admin, **params))["logs"])


async def page(admin: Admin, **params: Any) -> dict[str, Any]:
    reply = await admin.http.get("/v1/functions/observed/logs", params=params)
    reply.raise_for_status()
    return dict(reply.json())


async def settled(admin: Admin, count: int, **params: Any) -> list[Line]:
    """The lines, once there are so many: a worker hands them on within a tenth of a second."""

    async def enough() -> list[Line]:
        lines = await read(admin, **params)
        return lines if len(lines) >= count else []

    return await wait_until(enough, f"{count} lines")


async def test_a_request_through_an_actor_has_its_lines_in_order_under_its_id(site: Site, admin: Admin) -> None:
    reply = await site.post("/add/alice?token=hush", headers={"x-request-id": "r-1"}, content=b"12345")
    assert reply.text == "1"
    console, turn, request = await settled(admin, 3)
    assert {line["request_id"] for line in (console, turn, request)} == {"r-1"}
    assert (console["type"], console["level"], console["text"]) == ("console", "info", "count is 1")
    assert console["instance"] == turn["instance"] == "Counter/alice"
    assert (turn["method"], turn["outcome"], turn["bytes_in"], turn["bytes_out"]) == ("add", "ok", 6, 1)
    assert request["instance"] == "handler"
    assert [request[name] for name in ("method", "path", "outcome", "status")] == ["POST", "/add/alice", "ok", 200]
    assert (request["bytes_in"], request["bytes_out"], request["version"]) == (5, 1, 1)
    assert request["wall_ms"] > turn["wall_ms"] > 0
    assert request["wall_ms"] > request["cpu_ms"] > 0
    assert "hush" not in json.dumps([console, turn, request]), "a query may hold secrets"


async def test_lines_are_chosen_by_type_instance_level_and_time(site: Site, admin: Admin) -> None:
    for path in ("/say?text=one", "/add/alice", "/add/bob", "/throw"):
        await site.get(path)
    everything = await settled(admin, 10)
    assert [line["text"] for line in await read(admin, type="console")] == ["one", "count is 1", "count is 1"]
    assert {line["instance"] for line in await read(admin, instance="Counter")} == {"Counter/alice", "Counter/bob"}
    assert [line["type"] for line in await read(admin, instance="Counter/bob")] == ["console", "invocation"]
    assert [line["type"] for line in await read(admin, level="error")] == ["error", "invocation"]
    assert await read(admin, last=2) == everything[-2:]
    since = everything[4]["time"]
    assert await read(admin, since=since) == [line for line in everything if line["time"] >= since]
    assert await read(admin, since="2100-01-01T00:00:00Z") == []
    for wrong in ({"type": "loud"}, {"level": "all"}, {"since": "now"}, {"last": "-1"}, {"follow": "1"}):
        assert (await admin.http.get("/v1/functions/observed/logs", params=wrong)).status_code == 400


async def test_an_uncaught_error_shows_where_it_was_thrown_in_the_sources(site: Site, admin: Admin) -> None:
    assert (await site.get("/deep")).status_code == 500
    (line,) = await settled(admin, 1, type="error")
    head, thrown, called = line["text"].splitlines()[:3]
    assert head == "fetch threw RangeError: nothing is below /deep"
    assert re.fullmatch(r" +at deepest \(src/helper\.ts:9:\d+\)", thrown), line["text"]
    assert re.fullmatch(r" +at fetch \(src/index\.ts:23:\d+\)", called), line["text"]
    async with admin.http.stream("GET", "/v1/functions/observed/logs?follow=true&last=1&type=error") as reply:
        assert json.loads(await anext(reply.aiter_lines()))["text"] == line["text"]


async def test_pages_go_on_from_a_cursor_without_a_gap(site: Site, admin: Admin) -> None:
    for number in range(5):
        await site.get(f"/say?text={number}")
    everything = await settled(admin, 10)
    found: list[Line] = []
    params = {"since": "2000-01-01T00:00:00Z", "limit": "3"}
    while True:
        one = await page(admin, **params)
        found += one["logs"]
        params["cursor"] = one["cursor"]
        if one["next"] is None:
            break
        assert one["next"] == one["cursor"]
    assert found == everything
    await site.get("/say?text=later")
    assert [line.get("text") for line in await settled(admin, 2, cursor=params["cursor"])] == ["later", None]


async def test_a_follower_gets_lines_as_they_come_and_none_twice(site: Site, admin: Admin, host: server.Host) -> None:
    await site.get("/say?text=before")
    await settled(admin, 2)
    async with admin.http.stream("GET", "/v1/functions/observed/logs?follow=true&last=1&type=console") as reply:
        lines = texts(reply.aiter_lines())
        assert await anext(lines) == "before"
        for number in range(3):
            await site.get(f"/say?text={number}")
        assert [await anext(lines) for _ in range(3)] == ["0", "1", "2"]
        host.control.observed.journal.dismiss()
        assert [text async for text in lines] == [], "a host that stops ends it"


async def texts(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        if line:
            yield json.loads(line)["text"]


async def test_following_ends_with_the_function_and_its_lines_are_gone(
    site: Site, admin: Admin, host: server.Host
) -> None:
    await site.get("/say?text=hello")
    await settled(admin, 2)
    function = await admin.function("observed")
    folder = host.config.data_dir / "logs" / function["id"]
    assert list(folder.iterdir())
    async with admin.http.stream("GET", "/v1/functions/observed/logs?follow=true") as reply:
        await admin.delete("observed")
        async with asyncio.timeout(SILENCE_S / 2):  # not when the follower is looked at for its silence
            assert [line async for line in reply.aiter_lines() if line] == []
    await wait_until(lambda: not folder.exists(), "the lines' end")


async def test_lines_outlive_the_host(serve_config: ServeConfig) -> None:
    async with server.running(serve_config) as host, shipping_to(host) as ship:
        await (await ship(GUESTS / "observed")).get("/say?text=kept")
    async with (
        server.running(serve_config) as again,
        admin_of(again) as admin,
    ):
        lines = await read(admin)
        assert [line.get("text") for line in lines] == ["kept", None]


async def test_a_share_of_the_invocations_has_lines_and_each_failed_one(serve_config: ServeConfig) -> None:
    for share, kept in ((0.25, 3), (0.0, 0)):
        config = ServeConfig(
            serve_config.data_dir / str(share), serve_config.listen, serve_config.admin, invocation_logs=share
        )
        async with server.running(config) as host, shipping_to(host) as ship:
            site = await ship(GUESTS / "observed")
            for path in ("/", "/", "/", "/", "/", "/", "/", "/", "/throw"):
                await site.get(path)
            host.hand_on()
            async with admin_of(host) as admin:
                assert len(await read(admin, type="invocation")) == kept
                assert len(await read(admin, type="error")) == 1


async def test_a_guest_cannot_reach_the_terminal_through_its_log(site: Site, admin: Admin) -> None:
    await site.get("/say?text=%1b[2Jred%07")
    line = (await settled(admin, 2))[0]
    assert line["text"] == "\x1b[2Jred\x07"
    assert shown(line).endswith("warn  handler: \ufffd[2Jred\ufffd")


async def test_too_many_followers_of_a_tenant_are_refused(site: Site, admin: Admin, host: server.Host) -> None:
    journal = host.control.observed.journal
    most = journal.limits.followers_per_tenant_max
    followers = [journal.follow("f", "default", lambda line: True) for _ in range(most)]
    path = "/v1/functions/observed/logs?follow=true"
    assert (await admin.http.get(path)).status_code == 503
    for follower in followers:
        journal.leave("f", "default", follower)
    async with admin.http.stream("GET", path) as reply:
        assert reply.status_code == 200
        journal.dismiss()
