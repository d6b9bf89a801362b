"""The server that guests fetch from: a real one on a loopback address, with a path for each way to answer.

    /echo                   JSON of the request: {"method", "url", "headers": [[name, value]], "body"}
    /redirect?to=URL&status=302
    /loop?n=3               redirects to n-1, answers at 0
    /big?bytes=N            N bytes; /bomb?bytes=N the same, packed by gzip
    /cut                    gzip that ends too early
    /hang                   no answer; `hanging` is set, and `gone` when the client leaves

`seen` has a (method, url) for each request, in order; `on_request` is called for each.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

ADDRESS = "127.0.0.2"
"""A loopback address of its own, so that a test can permit it and nothing else."""


@dataclass
class Origin:
    port: int = 0
    seen: list[tuple[str, str]] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    on_request: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            method, url, _ = first.split(" ", 2)
            headers = [[name, value] for name, _, value in (line.partition(": ") for line in lines)]
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            body = await reader.readexactly(length)
            self.seen.append((method, url))
            self.on_request()
            await self._answer(reader, writer, method, url, headers, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        url: str,
        headers: list[list[str]],
        body: bytes,
    ) -> None:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/redirect":
                _reply(writer, int(query.get("status", 302)), {"location": query["to"]})
            case "/loop" if int(query["n"]) > 0:
                _reply(writer, 302, {"location": f"/loop?n={int(query['n']) - 1}"})
            case "/big":
                _reply(writer, 200, {}, bytes(int(query["bytes"])))
            case "/bomb":
                _reply(writer, 200, {"content-encoding": "gzip"}, gzip.compress(bytes(int(query["bytes"]))))
            case "/cut":
                _reply(writer, 200, {"content-encoding": "gzip"}, gzip.compress(b"text" * 100)[:-12])
            case "/hang":
                self.hanging.set()
                await reader.read()
                self.gone.set()
            case _:
                seen = {"method": method, "url": url, "headers": headers, "body": body.decode("latin-1")}
                cookies = {"content-type": "application/json", "x-from": "origin"}
                _reply(writer, 200, cookies, json.dumps(seen).encode())
        await writer.drain()


def _reply(writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes = b"") -> None:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)


@asynccontextmanager
async def serving() -> AsyncIterator[Origin]:
    origin = Origin()
    server = await asyncio.start_server(origin.serve, ADDRESS, 0)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
