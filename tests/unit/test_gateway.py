"""The gateway on a real socket, behind both servers that can carry it.

`fetch` is the gateway's own port, so here it is a function of the test.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import orjson
import pytest

from host.gateway.app import Gateway
from host.gateway.hypercorn_edge import HypercornEdge
from host.gateway.limits import EdgeLimits
from host.gateway.listen import listening_socket
from host.gateway.serve import UvicornEdge
from host.model.errors import ActorOverloadedError, HandlerError, TenureError, Unavailable
from host.model.limits import LIMITS
from host.model.manifest import Manifest
from host.model.message import HttpRequest, HttpResponse
from host.model.version import Version

BODY_MAX = 256 * 1024
LABEL = "echo-0198c2c58a"
HOST = f"{LABEL}.localhost"
DEADLINE_S = 10.0


def _version() -> Version:
    return Version(
        tenant="t",
        function_id="0198c2c5-8a00-7000-8000-000000000000",
        function_name="echo",
        number=1,
        digest="",
        manifest=Manifest(name="echo", main="src/index.ts"),
        artifact="",
        has_handler=True,
        actor_types=(),
        limits=replace(LIMITS, body_bytes_max=BODY_MAX),
    )


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    @property
    def error(self) -> dict[str, str]:
        (error,) = orjson.loads(self.body)["errors"]
        assert set(error) == {"code", "title", "detail"}
        return dict(error)


@dataclass
class Client:
    """A socket, so that a test says exactly which bytes it sends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, method: str = "GET") -> Reply:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status_line, *lines = head[:-4].split("\r\n")
                status = int(status_line.split(" ")[1])
                if status != 100:
                    break
            headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
            reply = Reply(status, headers, b"")
            if method != "HEAD" and status not in (204, 304):
                reply.body = await self.reader.readexactly(int(reply.one("content-length")))
            return reply

    async def ask(self, method: str = "GET", path: str = "/", *, extra: str = "", body: bytes = b"") -> Reply:
        length = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}:8787\r\n{length}{extra}\r\n"
        await self.send(head.encode("latin-1") + body)
        return await self.reply(method=method)

    async def ended(self) -> bool:
        """True once the server has closed; what it still sends is dropped."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
            return True

    def close(self) -> None:
        self.writer.close()


@dataclass
class Site:
    """A gateway on a port; `answer` is what its function does, `seen` what reached it."""

    port: int = 0
    seen: list[HttpRequest] = field(default_factory=list)
    futures: list[asyncio.Future[HttpResponse]] = field(default_factory=list)
    answer: Callable[[HttpRequest], HttpResponse | TenureError | None] = lambda request: HttpResponse(
        200, b"content-type: text/plain\n", request.body, request.binary
    )
    called: asyncio.Event = field(default_factory=asyncio.Event)
    clients: list[Client] = field(default_factory=list)

    def fetch(self, version: Version, request: HttpRequest) -> asyncio.Future[HttpResponse]:
        future: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        self.seen.append(request)
        self.futures.append(future)
        self.called.set()
        answer = self.answer(request)
        if isinstance(answer, TenureError):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    def header(self, name: str) -> list[str]:
        """Values of a header that the last call's guest saw."""
        block = self.seen[-1].headers.decode()
        return [value for key, _, value in (line.partition(": ") for line in block.splitlines()) if key == name]


LIMITED = EdgeLimits(head_bytes_max=16 * 1024, body_wall_s=0.2, drain_idle_s=0.3, drain_wall_s=0.5)


@pytest.fixture(params=["uvicorn", "hypercorn"])
def edge_server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def serving(edge_server: str, limits: EdgeLimits) -> AsyncIterator[Site]:
    site = Site()
    version = _version()
    app = Gateway({LABEL: version}.get, site.fetch, "localhost", limits)
    sock = listening_socket("127.0.0.1", 0)
    site.port = sock.getsockname()[1]
    edge = (UvicornEdge if edge_server == "uvicorn" else HypercornEdge)(app, sock, limits)
    await edge.start()
    try:
        yield site
    finally:
        for client in site.clients:
            client.close()
        for future in site.futures:
            future.cancel()
        await edge.stop(2.0)


@pytest.fixture
async def site(edge_server: str) -> AsyncIterator[Site]:
    async with serving(edge_server, LIMITED) as site:
        yield site


@pytest.fixture
async def client(site: Site) -> Client:
    return await site.client()


async def test_a_request_reaches_the_function_as_it_was_sent(site: Site, client: Client) -> None:
    reply = await client.ask("POST", "/a%20b/c?q=%26&r", extra="X-Mine: 1\r\nx-mine: 2\r\n", body=b"hello")
    (request,) = site.seen
    assert (request.method, request.url) == ("POST", f"http://{HOST}:8787/a%20b/c?q=%26&r")
    assert (request.body, request.binary) == (b"hello", False)
    assert site.header("x-mine") == ["1", "2"]
    assert (reply.status, reply.body, reply.one("content-length")) == (200, b"hello", "5")
    assert len(reply.all("date")) == 1
    assert reply.all("server") == []


async def test_one_connection_serves_many_requests(client: Client) -> None:
    for number in range(5):
        assert (await client.ask("POST", body=b"%d" % number)).body == b"%d" % number


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    one = f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1\r\n\r\n".encode()
    await client.send(b"".join(one + b"%d" % number for number in range(8)))
    assert [(await client.reply()).body for _ in range(8)] == [b"%d" % number for number in range(8)]


async def test_a_head_request_gets_the_length_and_no_body(site: Site, client: Client) -> None:
    site.answer = lambda request: HttpResponse(200, b"", b"twelve bytes")
    reply = await client.ask("HEAD")
    assert (reply.status, reply.one("content-length")) == (200, "12")
    assert (await client.ask("GET")).body == b"twelve bytes"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_without_content_has_no_length(site: Site, client: Client, status: int) -> None:
    site.answer = lambda request: HttpResponse(status, b"", b"dropped")
    reply = await client.ask()
    assert (reply.status, reply.all("content-length")) == (status, [])
    assert reply.all("transfer-encoding") == []
    assert (await client.ask()).status == status


async def test_duplicated_reply_headers_are_kept_in_order(site: Site, client: Client) -> None:
    site.answer = lambda request: HttpResponse(200, b"set-cookie: a=1\nset-cookie: b=2; Path=/\nset-cookie: a=3\n")
    assert (await client.ask()).all("set-cookie") == ["a=1", "b=2; Path=/", "a=3"]


async def test_binary_bodies_cross_unchanged_both_ways(site: Site, client: Client) -> None:
    data = bytes(range(256)) * 64
    assert (await client.ask("PUT", body=data)).body == data
    assert site.seen[-1].binary


async def test_non_ascii_header_values_cross_both_ways(site: Site, client: Client) -> None:
    site.answer = lambda request: HttpResponse(200, "x-name: Zoë\n".encode())
    reply = await client.ask(extra="x-name: caf\xe9\r\n")
    assert site.header("x-name") == ["café"]
    assert reply.one("x-name") == "Zoë"


async def test_every_request_has_an_id_that_guest_and_client_both_see(site: Site, client: Client) -> None:
    first, second = (await client.ask()).one("x-request-id"), (await client.ask()).one("x-request-id")
    assert first != second
    assert site.header("x-request-id") == [second]
    assert (await client.ask(extra="x-request-id: mine-1\r\n")).one("x-request-id") == "mine-1"
    assert site.header("x-request-id") == ["mine-1"]
    assert (await client.ask(extra='x-request-id: "><script>\r\n')).one("x-request-id") != '"><script>'


async def test_an_unknown_host_is_404_json_and_never_reaches_a_function(site: Site, client: Client) -> None:
    for host in ("nobody.localhost", "localhost", f"x.{HOST}", "example.com"):
        await client.send(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        reply = await client.reply()
        assert (reply.status, reply.error["code"]) == (404, "not_found")
        assert reply.one("content-type") == "application/json"
        assert reply.one("x-request-id")
    assert site.seen == []


async def test_the_host_name_is_matched_without_case_port_or_trailing_dot(client: Client) -> None:
    for host in (HOST.upper(), f"{HOST}.", f"{HOST}:80", f"{HOST}.:8787"):
        await client.send(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        assert (await client.reply()).status == 200


async def test_a_chunked_upload_arrives_whole(site: Site, client: Client) -> None:
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for piece in (b"5\r\nhello\r\n", b"1\r\n \r\n", b"5\r\nworld\r\n", b"0\r\n\r\n"):
        await client.send(piece)
    assert (await client.reply()).body == b"hello world"
    assert site.header("transfer-encoding") == []


async def test_expect_100_continue_is_answered_before_the_body(client: Client) -> None:
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        assert b" 100 " in await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"hello")
    assert (await client.reply()).body == b"hello"


async def test_a_body_at_the_limit_passes_and_one_byte_more_is_413(site: Site, client: Client) -> None:
    assert (await client.ask("POST", body=b"x" * BODY_MAX)).status == 200
    reply = await client.ask("POST", body=b"x" * (BODY_MAX + 1))
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    assert str(BODY_MAX) in reply.error["detail"]
    assert len(site.seen) == 1


async def test_413_comes_before_the_body_when_its_length_is_declared(site: Site, client: Client) -> None:
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {BODY_MAX * 10}\r\n\r\n".encode())
    reply = await client.reply()
    assert (reply.status, reply.one("connection")) == (413, "close")
    assert await client.ended()


async def test_a_client_that_uploads_everything_first_still_reads_its_413(client: Client) -> None:
    size = 8 * 1024 * 1024
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {size}\r\n\r\n".encode())
    for _ in range(size // 65536):
        await client.send(b"x" * 65536)
    assert (await client.reply()).status == 413


async def test_a_chunked_body_is_cut_off_as_soon_as_it_passes_the_limit(site: Site, client: Client) -> None:
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(BODY_MAX // 65536 + 1):
        await client.send(chunk)
    assert (await client.reply()).status == 413
    assert await client.ended()
    assert site.seen == []


async def test_a_body_that_never_comes_is_408(client: Client) -> None:
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\n\r\nhe".encode())
    assert (await client.reply()).status == 408
    assert await client.ended()


async def drip(client: Client, text: str) -> bytes:
    """Send byte after byte for as long as the server listens; what it says until it closes. Raises TimeoutError."""
    said = b""
    async with asyncio.timeout(DEADLINE_S):
        for byte in itertools.chain(text.encode(), itertools.repeat(ord("x"))):
            with suppress(ConnectionError):
                await client.send(bytes([byte]))
            try:
                piece = await asyncio.wait_for(client.reader.read(65536), 0.01)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if not piece:
                break
            said += piece
    return said


async def test_a_head_that_comes_a_byte_at_a_time_has_its_time_and_is_refused(
    edge_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hypercorn has no words for it: there the connection ends when it was idle for too long."""
    monkeypatch.setattr("host.gateway.serve._TICK_S", 0.05)
    limits = replace(LIMITED, head_wall_s=0.5, keep_alive_s=1.0)
    async with serving(edge_server, limits) as site:
        client, began = await site.client(), time.monotonic()
        said = await drip(client, f"GET / HTTP/1.1\r\nhost: {HOST}\r\nx-slow: ")
        assert time.monotonic() - began >= 0.5, "it had its time"
        assert said.startswith(b"HTTP/1.1 408 ") if edge_server == "uvicorn" else said == b""
        assert b"The headers did not arrive in 0.5 s." in said or edge_server == "hypercorn"
        assert site.seen == []
        assert (await (await site.client()).ask()).status == 200


async def test_a_body_that_comes_a_byte_at_a_time_has_its_time_and_is_refused(client: Client) -> None:
    began = time.monotonic()
    said = await drip(client, f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100000\r\n\r\n")
    assert time.monotonic() - began >= LIMITED.body_wall_s
    assert said.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "head",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: -5\r\n",
        f"host: other-{LABEL}.localhost\r\n",
        "x y: 1\r\n",
        "x-a: 1\0\r\n",
    ],
)
async def test_ambiguous_requests_are_refused_and_the_connection_ends(site: Site, client: Client, head: str) -> None:
    smuggled = f"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
    await client.send(f"POST / HTTP/1.1\r\nhost: {HOST}\r\n{head}\r\n{smuggled}".encode())
    reply = await client.reply()
    assert reply.status == 400
    assert await client.ended()
    assert [request.url for request in site.seen if "smuggled" in request.url] == []


@pytest.mark.parametrize("edge_server", ["uvicorn"], indirect=True)  # h11 reads one request at a time
async def test_a_malformed_request_does_not_take_the_reply_of_the_one_before_it(site: Site, client: Client) -> None:
    site.answer = lambda request: None
    await client.send(f"GET /slow HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
    await client.send(b"\x00\x01 nonsense\r\n\r\n")
    site.futures[0].set_result(HttpResponse(200, b"", b"mine"))
    assert (await client.reply()).body == b"mine"
    assert await client.ended()


async def test_headers_beyond_the_limit_are_431(site: Site, client: Client) -> None:
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\nx-long: {'x' * 20_000}\r\n\r\n".encode())
    assert (await client.reply()).status in (400, 431)
    assert site.seen == []


async def test_headers_that_never_end_are_cut_off(client: Client) -> None:
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\nx-long: ".encode())
    with suppress(ConnectionError):
        async with asyncio.timeout(DEADLINE_S):
            while not client.reader.at_eof():  # what the server reads together with the beginning does not count
                await client.send(b"x" * 1024)
                await asyncio.sleep(0)


@pytest.mark.parametrize("block", [b"x-a: 1\r\nx-evil: 2\n", b"bad name: 1\n", "x-moon: ☾\n".encode(), b"no colon\n"])
async def test_a_guest_cannot_inject_headers(site: Site, client: Client, block: bytes) -> None:
    site.answer = lambda request: HttpResponse(200, block)
    reply = await client.ask()
    assert (reply.status, reply.error["code"]) == (502, "bad_function_reply")
    assert reply.all("x-evil") == []
    assert (await client.ask()).status == 502


async def test_a_guest_cannot_frame_the_reply(site: Site, client: Client) -> None:
    block = b"content-length: 999\ntransfer-encoding: chunked\nconnection: close\nx-request-id: forged\n"
    site.answer = lambda request: HttpResponse(200, block, b"true")
    reply = await client.ask()
    assert (reply.body, reply.one("content-length")) == (b"true", "4")
    assert reply.one("x-request-id") != "forged"
    assert reply.all("transfer-encoding") == reply.all("connection") == []


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(200, b"", b"not base64!", True),
        HttpResponse(101),
        HttpResponse(999),
        HttpResponse(200, b"", b"x" * (BODY_MAX + 1)),
        HttpResponse(200, b"", base64.b64encode(b"\xff" * (BODY_MAX + 1)), True),
    ],
)
async def test_a_reply_that_cannot_be_sent_is_502(site: Site, client: Client, response: HttpResponse) -> None:
    site.answer = lambda request: response
    reply = await client.ask()
    assert (reply.status, reply.error["code"]) == (502, "bad_function_reply")


async def test_a_handler_error_is_500_with_the_hosts_words_and_the_request_id(site: Site, client: Client) -> None:
    site.answer = lambda request: HandlerError("It failed.", name="SecretError", stack="at secret.ts:1")
    reply = await client.ask(extra="x-request-id: mine-1\r\n")
    assert (reply.status, reply.error["code"], reply.error["detail"]) == (500, "function_error", "It failed.")
    assert b"ecret" not in reply.body
    assert (reply.one("x-request-id"), site.seen[-1].request_id) == ("mine-1", "mine-1")


@pytest.mark.parametrize("error", [Unavailable("The queue is full."), ActorOverloadedError("full")])
async def test_503_says_when_to_come_back(site: Site, client: Client, error: TenureError) -> None:
    site.answer = lambda request: error
    reply = await client.ask()
    assert (reply.status, reply.one("retry-after")) == (503, "1")


async def test_an_error_in_the_host_is_500_json_and_logged_with_its_trace(
    site: Site, client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("/srv/tenure/private/path")

    site.answer = fail
    reply = await client.ask()
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert b"private" not in reply.body
    logged = capfd.readouterr().err
    assert reply.one("x-request-id") in logged
    assert "RuntimeError" in logged
    assert (await client.ask("POST", body=b"x")).status == 500


async def test_a_client_that_goes_cancels_its_call(site: Site, client: Client) -> None:
    site.answer = lambda request: None
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
        client.close()
        await asyncio.wait([site.futures[0]])
    assert site.futures[0].cancelled()
    site.answer = lambda request: HttpResponse(200, b"", b"next")
    assert (await (await site.client()).ask()).body == b"next"


async def test_a_slow_call_whose_client_waits_gets_its_reply(site: Site, client: Client) -> None:
    site.answer = lambda request: None
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
    asyncio.get_running_loop().call_later(0.35, site.futures[0].set_result, HttpResponse(200, b"", b"late"))
    assert (await client.reply()).body == b"late"
    site.answer = lambda request: HttpResponse(200, b"", b"next")
    assert (await client.ask()).body == b"next"


async def test_a_call_that_the_host_cancels_is_503(site: Site, client: Client) -> None:
    site.answer = lambda request: None
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
    site.futures[0].cancel()
    assert (await client.reply()).status == 503


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH", "DELETE", "PROPFIND", "PURGE"])
async def test_methods_that_http_allows_are_passed_on(site: Site, client: Client, method: str) -> None:
    assert (await client.ask(method)).status == 200
    assert site.seen[-1].method == method


async def test_connect_is_refused(site: Site, client: Client) -> None:
    await client.send(f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    assert (await client.reply()).status in (400, 405)
    assert site.seen == []


async def test_a_websocket_is_refused(site: Site, client: Client) -> None:
    upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    reply = await client.ask(extra=upgrade + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    assert reply.status in (403, 501)
    assert site.seen == []


async def test_an_upgrade_nobody_serves_is_an_ordinary_request(client: Client) -> None:
    extra = "connection: Upgrade\r\nupgrade: irc/7\r\n"
    assert (await client.ask(extra=extra)).status == 200


async def test_many_clients_at_once_each_get_their_own_reply(site: Site) -> None:
    async def one(number: int) -> bool:
        client = await site.client()
        body = b"%d" % number
        return all([(await client.ask("POST", body=body)).body == body for _ in range(10)])

    assert all(await asyncio.gather(*(one(number) for number in range(50))))


async def test_stop_lets_a_call_in_flight_end_and_then_refuses(edge_server: str) -> None:
    site = Site(answer=lambda request: None)
    app = Gateway({LABEL: _version()}.get, site.fetch, "localhost")
    sock = listening_socket("127.0.0.1", 0)
    site.port = sock.getsockname()[1]
    edge = (UvicornEdge if edge_server == "uvicorn" else HypercornEdge)(app, sock)
    await edge.start()
    busy, idle = await site.client(), await site.client()
    await busy.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
        stopping = asyncio.create_task(edge.stop(DEADLINE_S))
        assert await idle.ended()
        site.futures[0].set_result(HttpResponse(200, b"", b"last"))
        assert (await busy.reply()).body == b"last"
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await site.client()
    busy.close()
    idle.close()


async def test_stop_cuts_what_outlives_its_grace(edge_server: str) -> None:
    site = Site(answer=lambda request: None)
    app = Gateway({LABEL: _version()}.get, site.fetch, "localhost")
    sock = listening_socket("127.0.0.1", 0)
    site.port = sock.getsockname()[1]
    edge = (UvicornEdge if edge_server == "uvicorn" else HypercornEdge)(app, sock)
    await edge.start()
    client = await site.client()
    await client.send(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await site.called.wait()
        await edge.stop(0.05)
        assert await client.ended()
    client.close()
