"""What strangers may try at the edge and at the admin API, each with its outcome; docs/security-tests.md lists them.

Bytes go to a real host over sockets of this test's own, because a client would put them right.
"""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from host import server
from tests.conftest import FUNCTIONS, GUESTS, SESSION, Ship
from tests.kit.http import Site
from tests.kit.process import HostProcess

pytestmark = SESSION

DEADLINE_S = 20.0
IDLE = 10_000
SLOW = 300


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def echo(shared: Ship) -> Site:
    return await shared(GUESTS / "echo")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(url: str, data: bytes) -> bytes:
    """All that the host says to `data` until it closes the connection, or for as long as this side waits for more."""
    async with connected(url) as (reader, writer):
        writer.write(data)
        found = b""
        while True:
            try:
                piece = await asyncio.wait_for(reader.read(65536), 0.5 if found else DEADLINE_S)
            except (TimeoutError, ConnectionError):
                return found
            if not piece:
                return found
            found += piece


def statuses(said: bytes) -> list[int]:
    return [int(piece[:3]) for piece in said.split(b"HTTP/1.1 ")[1:]]


# --- one request must never be two, nor two of them one ---------------------------------------------------------------

SMUGGLED = "GET /request?smuggled HTTP/1.1\r\nhost: {host}\r\n\r\n"
FRAMINGS = {
    "content-length and chunked": "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and content-length": "transfer-encoding: chunked\r\ncontent-length: 100\r\n\r\n0\r\n\r\n",
    "two lengths": "content-length: 0\r\ncontent-length: 44\r\n\r\n",
    "a list of lengths": "content-length: 0, 44\r\n\r\n",
    "a length with a sign": "content-length: +0\r\n\r\n",
    "a negative length": "content-length: -1\r\n\r\n",
    "a length in hexadecimal": "content-length: 0x0\r\n\r\n",
    "a length that overflows": "content-length: 18446744073709551616\r\n\r\n",
    "a coding nobody knows": "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": "content-length : 44\r\n\r\n",
    "a folded line": "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "lines that end in a line feed alone": "content-length: 44\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a carriage return alone": "x: y\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk whose size overflows": "transfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
    "a chunk whose size is negative": "transfer-encoding: chunked\r\n\r\n-1\r\n",
    "a chunk that is longer than it says": "transfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
    "a line feed in a chunk's extension": "transfer-encoding: chunked\r\n\r\n0;x\n\r\n",
}


@pytest.mark.parametrize("which", FRAMINGS)
async def test_a_request_whose_end_is_a_matter_of_opinion_is_the_last_of_its_connection(echo: Site, which: str) -> None:
    head = f"POST /request HTTP/1.1\r\nhost: {echo.host}\r\n"
    found = await said(echo.url, (head + FRAMINGS[which] + SMUGGLED.format(host=echo.host)).encode("latin-1"))
    assert b"?smuggled" not in found
    assert statuses(found) in ([400], [501], [408], [413]), found
    assert (await echo.post("/text", content="next")).text == "next"


async def test_what_follows_a_sound_request_is_the_next_one_and_is_answered_after_it(echo: Site) -> None:
    """The test of the test: pipelined as it should be, the second is seen."""
    head = f"POST /request HTTP/1.1\r\nhost: {echo.host}\r\ncontent-length: 0\r\n\r\n"
    found = await said(echo.url, (head + SMUGGLED.format(host=echo.host)).encode())
    assert statuses(found) == [200, 200]
    assert b"?smuggled" in found


# --- which function a request is for ----------------------------------------------------------------------------------


async def test_a_host_header_reaches_the_function_it_names_or_none(echo: Site, shared: Ship) -> None:
    other = await shared(FUNCTIONS / "hello")
    label, _, port = echo.host.partition(":")
    for host in (
        *(f"{other.host}@{label}", f"{label}@evil.example", f"{label}.evil.example", f"evil.{label}", f"{label}%00"),
        *("", " ", "localhost", f"127.0.0.1:{port}", "[::1]", "..", f"{label},{other.host}", f"{label}/", f"x{label}"),
        *("a" * 5_000, f"{label}:99999999", f"{label}:x", "\xff" * 20),
    ):
        request = f"GET /request HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode("latin-1")
        found = await said(echo.url, request)
        assert statuses(found) in ([404], [400]), host
    twice = f"GET /request HTTP/1.1\r\nhost: {label}\r\nhost: {other.host}\r\n\r\n"
    assert statuses(await said(echo.url, twice.encode())) == [400]
    none = b"GET /request HTTP/1.1\r\nconnection: close\r\n\r\n"
    assert statuses(await said(echo.url, none)) in ([404], [400])


async def test_headers_of_proxies_move_no_request_to_another_function(echo: Site, shared: Ship) -> None:
    other = await shared(FUNCTIONS / "hello")
    names = ("x-forwarded-host", "x-host", "forwarded", "x-original-url", "x-rewrite-url", "x-http-method-override")
    for name in names:
        value = f"host={other.host}" if name == "forwarded" else other.host
        seen = (await echo.get("/request", headers={name: value})).json()
        assert (seen["method"], urlsplit(seen["url"]).netloc) == ("GET", echo.host)


async def test_a_target_in_its_absolute_form_reaches_no_other_function(echo: Site, shared: Ship) -> None:
    other = await shared(FUNCTIONS / "hello")
    target = f"GET http://{other.host}/request HTTP/1.1\r\nhost: {echo.host}\r\nconnection: close\r\n\r\n"
    found = await said(echo.url, target.encode())
    assert statuses(found) in ([200], [400], [404])
    assert b"Hello" not in found


# --- files ------------------------------------------------------------------------------------------------------------

PATHS = (
    *(
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/operator.key",
        "//etc/passwd",
        "/..;/operator.key",
    ),
    *("/....//operator.key", "/%c0%ae%c0%ae/operator.key", "/..%5c..%5coperator.key", "/static/../../operator.key"),
)


async def test_no_path_of_the_edge_or_of_the_admin_server_is_one_of_a_file(
    echo: Site, shared_host: server.Host
) -> None:
    operator = shared_host.control.operator_key
    for path in PATHS:
        seen = (await echo.get(path)).text
        assert "root:" not in seen
        admin = urlsplit(shared_host.control.admin_url).netloc
        for prefix in ("", "/v1/functions", "/dashboard/static", "/dashboard", "/v1/functions/echo/versions"):
            head = f"GET {prefix}{path} HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {operator}\r\n"
            found = await said(shared_host.control.admin_url, f"{head}connection: close\r\n\r\n".encode())
            assert b"root:" not in found
            assert operator.encode() not in found
            assert statuses(found)[0] in (302, 303, 307, 308, 400, 404, 405), (prefix, path)


# --- too much, too slowly, too many -----------------------------------------------------------------------------------


async def test_a_head_that_is_too_large_is_refused_whatever_makes_it_large(echo: Site) -> None:
    start = f"GET /request HTTP/1.1\r\nhost: {echo.host}\r\n"
    for head in (
        start + f"x: {'y' * 100_000}\r\n\r\n",
        start + "".join(f"x-{number}: y\r\n" for number in range(10_000)) + "\r\n",
        f"GET /{'y' * 100_000} HTTP/1.1\r\nhost: {echo.host}\r\n\r\n",
        start + f"{'y' * 100_000}: x\r\n\r\n",
    ):
        assert statuses(await said(echo.url, head.encode())) in ([431], [400], [414])
    assert (await echo.post("/text", content="next")).text == "next"


async def test_clients_that_send_a_byte_at_a_time_keep_nobody_waiting(echo: Site) -> None:
    """Slow heads and slow bodies; how long each may take is `unit/test_gateway.py`'s."""
    address = urlsplit(echo.url)
    slow = [await asyncio.open_connection(address.hostname, address.port) for _ in range(SLOW)]
    head = f"POST /text HTTP/1.1\r\nhost: {echo.host}\r\ncontent-length: 1000\r\n\r\n".encode()
    for number, (_, writer) in enumerate(slow):
        writer.write(head if number % 2 else head[:20])
    for _ in range(5):
        for _, writer in slow:
            writer.write(b"x")
        began = time.monotonic()
        assert (await echo.post("/text", content="beside")).text == "beside"
        assert time.monotonic() - began < 5.0
    for _, writer in slow:
        writer.close()


async def test_a_compressed_body_is_the_functions_own_to_unpack(echo: Site) -> None:
    """The host never inflates what a client sends, so 10 MiB of zeros that took 10 KB on the way stay 10 KB."""
    bomb = gzip.compress(bytes(10 << 20))
    reply = await echo.post("/bytes", content=bomb, headers={"content-encoding": "gzip"})
    assert reply.content == bomb


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    process = HostProcess(tmp_path_factory.mktemp("edge") / "data")
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def test_ten_thousand_idle_connections_leave_room_for_others(process: HostProcess) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < IDLE + 1_000:
        pytest.skip(f"this machine lets a process open fewer than {IDLE} files")
    idle = []
    try:
        for number in range(IDLE):
            idle.append(socket.create_connection(("127.0.0.1", process.port), DEADLINE_S))
            if number % 2:
                idle[-1].sendall(b"GET / HTTP/1.1\r\n")
        async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as client:
            for _ in range(20):
                reply = await client.get(f"http://127.0.0.1:{process.port}/", headers={"host": "nobody.localhost"})
                assert reply.status_code == 404
        assert all(worker["pid"] for worker in process.status()["workers"])
    finally:
        for one in idle:
            one.close()
    async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as client:
        assert (await client.get(f"http://127.0.0.1:{process.port}/")).status_code == 404


async def test_the_admin_server_inflates_no_body(shared_host: server.Host) -> None:
    """What a bundle may unpack to is `unit/test_bundle.py`'s."""
    headers = {"authorization": f"Bearer {shared_host.control.operator_key}", "content-encoding": "gzip"}
    async with httpx.AsyncClient(base_url=shared_host.control.admin_url, headers=headers, trust_env=False) as client:
        reply = await client.post("/v1/functions", content=gzip.compress(bytes(10 << 20)))
    assert reply.status_code in (400, 413, 415)
