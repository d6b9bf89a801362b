"""A client of one function: it connects to the host's address and names the function in the Host header.

Plain streams, because a load of hundreds of requests must measure the host and not its client, and because nothing
may be normalised, retried or followed behind a test's back. Replies are `httpx.Response` for their accessors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
from collections.abc import AsyncIterable, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx

_DEADLINE_S = 60.0

HeaderPairs = Iterable[tuple[str, str | bytes]]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """Requests to one function of the host at `url`. Connections are kept and used again; any number may be open."""

    def __init__(self, url: str, host: str) -> None:
        self.url, self.host = url, host
        self._idle: list[Stream] = []

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.ask("GET", path, **arguments)

    async def post(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.ask("POST", path, **arguments)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | HeaderPairs = (),
        content: bytes | str | AsyncIterable[bytes] = b"",
        json: object = None,
    ) -> httpx.Response:
        """One request and its reply. `content` in pieces is sent chunked. A `host` in `headers` replaces the site's."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        if json is not None:
            content = jsonlib.dumps(json)
            pairs.append(("content-type", "application/json"))
        body = content.encode() if isinstance(content, str) else content
        head = self._head(method, path, pairs, body)
        stream = await self._stream()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                sending = asyncio.create_task(_send(stream[1], head, body))
                try:
                    reply = await _receive(stream[0], method)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
        except BaseException:
            stream[1].close()
            raise
        if reply.headers.get("connection") == "close":
            stream[1].close()
        else:
            self._idle.append(stream)
        return reply

    def ports(self) -> list[int]:
        """Of this side, of the connections that are kept."""
        return [writer.get_extra_info("sockname")[1] for _, writer in self._idle]

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()

    async def _stream(self) -> Stream:
        """An idle connection that the host has not closed, or a new one."""
        while self._idle:
            stream = self._idle.pop()
            if not stream[0].at_eof() and stream[0].exception() is None:
                return stream
            stream[1].close()
        address = urlsplit(self.url)
        return await asyncio.open_connection(address.hostname, address.port)

    def _head(self, method: str, path: str, pairs: list[tuple[str, str | bytes]], body: object) -> bytes:
        lines = [f"{method} {path} HTTP/1.1".encode()]
        if not any(name.lower() == "host" for name, _ in pairs):
            lines.append(f"host: {self.host}".encode())
        for name, value in pairs:
            lines.append(name.encode() + b": " + (value.encode("latin-1") if isinstance(value, str) else value))
        if not isinstance(body, bytes):
            lines.append(b"transfer-encoding: chunked")
        elif body or method in ("POST", "PUT", "PATCH"):
            lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""])


async def _send(writer: asyncio.StreamWriter, head: bytes, body: bytes | AsyncIterable[bytes]) -> None:
    """A host that refuses early may close while this still sends; what it said is then to be read."""
    with contextlib.suppress(ConnectionError):
        if isinstance(body, bytes):
            writer.write(head + body)
            await writer.drain()
            return
        writer.write(head)
        async for piece in body:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


async def _receive(reader: asyncio.StreamReader, method: str) -> httpx.Response:
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head[:-4].split(b"\r\n")
    status = int(status_line.split(b" ")[1])
    pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    headers = httpx.Headers(pairs)
    content = b""
    if method != "HEAD" and status not in (204, 304):
        content = await reader.readexactly(int(headers["content-length"]))
    response = httpx.Response(status, content=content)
    response.headers = headers
    return response
