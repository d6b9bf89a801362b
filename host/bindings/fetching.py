"""One fetch to the outside: where it may go, that it goes nowhere else, and how much may come back.

A function may reach the hosts that its manifest's [outbound] allows, nothing by default. What a name resolves to is
checked as well, at the moment of connecting and for every redirect: loopback, private, link-local, metadata and other
special addresses are refused, so a public name that points inside (or changes between check and use) gains nothing.
The operator may permit networks with `permitted` (for services beside the host).

Each fetch uses a connection of its own: nothing of one tenant's traffic is kept for another's.

What a guest says is not taken on trust, whatever its SDK checks: names of headers are compared in lower case, and a
header or method that is no HTTP is refused before anything is sent.

Bounds: body, time, redirects, threads that resolve names. Bodies arrive whole.

Shape: a response that came from another URL than the one asked for begins its header block with the line
`:url: URL`; no header of a server can have that name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ada_url
import httpcore

from host.bindings.ports import Ask, Refused
from host.model.message import HttpResponse, body_from_wire, body_to_wire

REDIRECTS_MAX = 20
REDIRECT_STATUSES = frozenset((301, 302, 303, 307, 308))
RESOLVERS_MAX = 16
"""Threads of their own for resolving: a name server that answers slowly keeps nothing else of the host waiting."""
_FORBIDDEN_HEADERS = frozenset(
    (
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_FORBIDDEN_METHODS = frozenset(("CONNECT", "TRACE", "TRACK"))
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_CREDENTIALS = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
_HOP_BY_HOP = frozenset((b"connection", b"transfer-encoding", b"keep-alive"))
_OF_THE_ENCODED = frozenset((b"content-encoding", b"content-length"))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def allows(patterns: Iterable[str], host: str) -> bool:
    """Whether `host` is among `patterns`: an exact name, or `*.example.org` for every name below it."""
    host = host.rstrip(".").lower()
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns)


def is_public(address: str, permitted: tuple[Network, ...] = ()) -> bool:
    """Whether a guest may connect to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in permitted if network.version == ip.version):
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner), permitted)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class _Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name, refuses it if any of its addresses is not public, and connects to the address it checked."""

    def __init__(self, permitted: tuple[Network, ...]) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._permitted = permitted
        self._resolvers = ThreadPoolExecutor(RESOLVERS_MAX, "outbound-resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface's name for it
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host.strip("[]"), port)
        if not addresses or not all(is_public(address, self._permitted) for address in addresses):
            raise Refused(f"{host} resolves to an address that functions may not reach")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host`, each once."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            raise Refused(f"{host} cannot be resolved") from None
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def connect_unix_socket(self, *_args: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        raise Refused("there is no such thing to fetch from")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class Fetcher:
    """Makes fetches in this process, all on its loop. It may reach public addresses and those that are `permitted`."""

    def __init__(self, permitted: tuple[Network, ...] = ()) -> None:
        self._guard = _Guard(permitted)
        self._trust: ssl.SSLContext | None = None

    async def fetch(self, ask: Ask) -> HttpResponse:
        """Raises Refused."""
        try:
            async with asyncio.timeout(ask.seconds):
                return await self._follow(ask)
        except TimeoutError:
            raise Refused(f"it took longer than {ask.seconds:g} s") from None
        except zlib.error:
            raise Refused("the response is not the gzip that it says it is") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError):
            raise Refused("the connection failed") from None

    async def _follow(self, ask: Ask) -> HttpResponse:
        request, allow, redirect, _, bytes_max = ask
        first = url = _target(request.url, allow)
        if not _METHOD.fullmatch(request.method) or request.method.upper() in _FORBIDDEN_METHODS:
            raise Refused("its method is not allowed")
        method, body = request.method, body_from_wire(request.body, request.binary)
        headers = _sent_headers(request.headers)
        for _ in range(REDIRECTS_MAX + 1):
            status, answered, content = await self._once(method, url, headers, body, bytes_max)
            location = next((value for name, value in answered if name == b"location"), None)
            if redirect == "manual" or status not in REDIRECT_STATUSES or location is None:
                moved = [] if url is first else [(b":url", url.href.encode())]
                block = b"".join(b"%s: %s\n" % pair for pair in (*moved, *answered))
                return HttpResponse(status, _utf8(block), *body_to_wire(content))
            if redirect == "error":
                raise Refused("it was redirected, which the request forbids")
            before, url = url, _target(location.decode("latin-1"), allow, url.href)
            if before.origin != url.origin:
                headers = [(name, value) for name, value in headers if name not in _CREDENTIALS]
            if status == 303 or (status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                headers = [(name, value) for name, value in headers if not name.startswith(b"content-")]
        raise Refused(f"it was redirected more than {REDIRECTS_MAX} times")

    async def _once(
        self, method: str, url: ada_url.URL, headers: list[tuple[bytes, bytes]], body: bytes, bytes_max: int
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        sent = [(b"host", url.host.encode()), (b"accept-encoding", b"gzip"), *headers]
        if body or method in ("POST", "PUT", "PATCH"):
            sent.append((b"content-length", b"%d" % len(body)))
        tls = await self._tls() if url.protocol == "https:" else None
        pool = httpcore.AsyncConnectionPool(tls, network_backend=self._guard, max_keepalive_connections=0, retries=0)
        async with (
            pool,
            pool.stream(method, url.href.partition("#")[0], headers=sent, content=body or None) as response,
        ):
            names = [(name.lower(), value) for name, value in response.headers]
            encoded = any(name == b"content-encoding" and value.lower() == b"gzip" for name, value in names)
            content = await _content(response, encoded, bytes_max)
            unkept = _HOP_BY_HOP | _OF_THE_ENCODED if encoded else _HOP_BY_HOP
            return response.status, [(name, value) for name, value in names if name not in unkept], content

    async def _tls(self) -> ssl.SSLContext:
        """Whom to trust: read once, in a thread, because that takes longer than most requests."""
        if self._trust is None:
            self._trust = await asyncio.to_thread(httpcore.default_ssl_context)
        return self._trust

    async def close(self) -> None:
        self._guard.close()


async def _content(response: httpcore.Response, encoded: bool, bytes_max: int) -> bytes:
    """The whole body. Never holds more than `bytes_max` and one piece, also of what grows when it is unpacked."""
    inflater = zlib.decompressobj(wbits=31) if encoded else None
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_stream():
        if inflater is not None:
            chunk = inflater.decompress(chunk, bytes_max + 1 - size)
        size += len(chunk)
        if size > bytes_max:
            raise Refused(f"the response is over {bytes_max >> 20} MiB")
        chunks.append(chunk)
    if inflater is not None and size > 0 and not inflater.eof:
        raise zlib.error("cut short")
    return b"".join(chunks)


def _target(text: str, allow: tuple[str, ...], base: str | None = None) -> ada_url.URL:
    """The URL to go to. Raises Refused when it is not one that the manifest allows."""
    try:
        url = ada_url.URL(text, base=base)
    except ValueError:
        raise Refused("that is not a URL") from None
    if url.protocol not in ("http:", "https:"):
        raise Refused(f"{url.protocol} is not fetched, only http: and https:")
    if not allows(allow, url.hostname):
        raise Refused(f'{url.hostname} is not in the manifest: add it to [outbound] allow = ["{url.hostname}"]')
    if url.username or url.password:
        raise Refused("a URL with a user name in it is not fetched")
    return url


def _sent_headers(block: bytes) -> list[tuple[bytes, bytes]]:
    headers = []
    for line in block.split(b"\n"):
        name, separator, value = line.partition(b": ")
        name = name.lower()
        if separator and name not in _FORBIDDEN_HEADERS:
            headers.append((name, value.decode().encode("latin-1", "replace")))
    return headers


def _utf8(block: bytes) -> bytes:
    return block if block.isascii() else block.decode("latin-1").encode()
