"""Outbound fetches without a guest: addresses and names, limits in time, and what a guest that lies can make of them.

The connections are real ones, to a server on a loopback address that only these tests permit.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from host.bindings import outbound
from host.bindings.fetching import Fetcher, allows, is_public
from host.bindings.outbound import Outbound
from host.model.errors import StorageBroken
from host.model.limits import LIMITS, Limits
from host.model.message import HttpRequest, HttpResponse
from host.storage.commit import Committer
from host.storage.memory import MemoryEngine
from host.storage.ports import Write
from tests.guests.outbound.origin import ADDRESS, Origin, serving

DEADLINE_S = 10.0
ALLOW = ("127.0.0.2",)
Ended = tuple[HttpResponse | None, str]


class Engine(MemoryEngine):
    """Notes when it syncs; a sync fails when `fail` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.happened: list[str] = []
        self.fail = False

    def write(self, batch: Iterable[Write]) -> None:
        self.happened.append("write")
        super().write(batch)

    def sync(self) -> None:
        self.happened.append("sync")
        if self.fail:
            raise OSError("the disk is gone")
        super().sync()


class Room:
    """An `Outbound` on a committer of its own, and the server."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.engine = Engine()
        self.committer = Committer(self.engine)
        self.outbound = Outbound(self.committer.drain, Fetcher((ip_network(f"{ADDRESS}/32"),)))

    def start(
        self, request: HttpRequest, limits: Limits = LIMITS, tenant: str = "tenant"
    ) -> tuple[asyncio.Future[Ended], Any]:
        ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        handle = self.outbound.fetch(tenant, request, ALLOW, "follow", limits, lambda *said: ended.set_result(said))
        return ended, handle

    async def fetch(
        self,
        path: str,
        limits: Limits = LIMITS,
        method: str = "GET",
        headers: bytes = b"",
        tenant: str = "tenant",
    ) -> Ended:
        url = f"http://{ADDRESS}:{self.origin.port}{path}"
        ended, _ = self.start(HttpRequest(method, url, headers), limits, tenant)
        return await asyncio.wait_for(ended, DEADLINE_S)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with serving() as origin:
        room = Room(origin)
        yield room
        await room.outbound.close()
        assert room.outbound.under_way == 0
        await room.committer.close()


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1", "::127.0.0.1",
])  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::1.1.1.1"])
def test_a_public_address_is_not_refused(address: str) -> None:
    assert is_public(address)


def test_a_network_that_the_operator_permits_is_reached_in_any_spelling() -> None:
    permitted = (ip_network("10.0.0.0/8"),)
    assert is_public("10.1.2.3", permitted)
    assert is_public("::ffff:10.1.2.3", permitted)
    assert not is_public("192.168.0.1", permitted)


@pytest.mark.parametrize(("pattern", "host", "expected"), [
    ("api.example.com", "api.example.com", True), ("api.example.com", "API.example.com.", True),
    ("api.example.com", "xapi.example.com", False), ("api.example.com", "api.example.com.evil.org", False),
    ("*.example.org", "a.example.org", True), ("*.example.org", "a.b.example.org", True),
    ("*.example.org", "example.org", False), ("*.example.org", "badexample.org", False),
])  # fmt: skip
def test_a_name_is_allowed_by_itself_or_by_a_wildcard_above_it(pattern: str, host: str, expected: bool) -> None:
    assert allows([pattern], host) is expected


async def test_a_fetch_that_takes_too_long_ends_and_closes_its_connection(room: Room) -> None:
    response, reason = await room.fetch("/hang", replace(LIMITS, request_wall_s=0.5))
    assert (response, reason) == (None, "it took longer than 0.5 s")
    await asyncio.wait_for(room.origin.gone.wait(), DEADLINE_S)


async def test_a_cancelled_fetch_says_nothing_and_closes_its_connection(room: Room) -> None:
    ended, handle = room.start(HttpRequest("GET", f"http://{ADDRESS}:{room.origin.port}/hang"))
    await asyncio.wait_for(room.origin.hanging.wait(), DEADLINE_S)
    handle.cancel()
    await asyncio.wait_for(room.origin.gone.wait(), DEADLINE_S)
    assert not ended.done()


async def test_a_fetch_leaves_only_when_what_was_written_before_is_durable(room: Room) -> None:
    room.origin.on_request = lambda: room.engine.happened.append("request")
    room.committer.write([(b"key", b"value")])
    response, _ = await room.fetch("/echo")
    assert response is not None
    assert room.engine.happened == ["write", "sync", "request"]


async def test_a_fetch_never_leaves_when_what_was_written_before_is_lost(room: Room) -> None:
    room.engine.fail = True
    room.committer.write([(b"key", b"value")])
    response, reason = await room.fetch("/echo")
    assert (response, reason) == (None, "what was written before this fetch could not be made durable")
    assert room.origin.seen == []
    with pytest.raises(StorageBroken):
        await room.committer.drain()


@pytest.mark.parametrize("headers", [b"x: a\rhost: evil\n", b"x y: a\n", b"x: a\x00b\n", b"\xff: a\n", b"x: \xff\n"])
async def test_a_header_that_is_no_http_is_never_sent(room: Room, headers: bytes) -> None:
    response, reason = await room.fetch("/echo", headers=headers)
    assert (response, reason) == (None, "the connection failed")
    assert room.origin.seen == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "connect", "GET /x HTTP/1.1\r\nx:", "", "A" * 65])
async def test_a_method_that_is_not_allowed_is_never_sent(room: Room, method: str) -> None:
    assert (await room.fetch("/echo", method=method))[1] == "its method is not allowed"
    assert room.origin.seen == []


async def test_headers_that_frame_a_message_are_the_hosts_however_they_are_written(room: Room) -> None:
    headers = b"HOST: evil\nTransfer-Encoding: chunked\nCONTENT-LENGTH: 7\nExpect: 100-continue\nfine: 1\n"
    response, _ = await room.fetch("/echo", headers=headers)
    assert response is not None
    for text in (b"evil", b"chunked", b"100-continue", b'"7"'):
        assert text not in response.body
    assert b'"fine", "1"' in response.body


async def test_the_final_url_of_a_redirect_is_the_first_line_and_no_server_can_forge_it(room: Room) -> None:
    response, _ = await room.fetch("/redirect?to=/echo")
    assert response is not None
    assert response.headers.startswith(b":url: http://%s:%d/echo\n" % (ADDRESS.encode(), room.origin.port))
    response, _ = await room.fetch("/echo")
    assert response is not None
    assert not response.headers.startswith(b":url")


async def test_an_address_that_does_not_answer_is_followed_by_the_next(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.3", port, **options) + real(ADDRESS, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    two = Outbound(room.committer.drain, Fetcher((ip_network("127.0.0.2/31"),)))
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    request = HttpRequest("GET", f"http://two.test:{room.origin.port}/echo")
    two.fetch("tenant", request, ("two.test",), "follow", LIMITS, lambda *said: ended.set_result(said))
    response, reason = await asyncio.wait_for(ended, DEADLINE_S)
    assert response is not None, reason
    await two.close()


async def test_a_process_makes_no_more_fetches_at_once_than_it_may(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "AT_ONCE_MAX", 1)
    ended, handle = room.start(HttpRequest("GET", f"http://{ADDRESS}:{room.origin.port}/hang"))
    assert "too many fetches" in (await room.fetch("/echo"))[1]
    handle.cancel()
    await asyncio.wait_for(asyncio.gather(*room.outbound._tasks, return_exceptions=True), DEADLINE_S)
    assert not ended.done()
    assert (await room.fetch("/echo"))[0] is not None


async def test_a_tenant_with_all_its_fetches_under_way_keeps_none_of_another(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "AT_ONCE_OF_A_TENANT_MAX", 1)
    room.start(HttpRequest("GET", f"http://{ADDRESS}:{room.origin.port}/hang"))
    assert "too many fetches" in (await room.fetch("/echo"))[1]
    response, reason = await room.fetch("/echo", tenant="another")
    assert response is not None, reason
