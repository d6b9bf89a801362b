"""One HTTP/1.1 connection of the uvicorn edge: uvicorn's own protocol, with the bounds and errors of this host.

What uvicorn leaves open and this settles:
- a request head has a size and a time in which it must arrive;
- a malformed request gets the host's JSON error, after the replies that are still owed to requests before it;
- an upgrade that is not served ends the connection instead of leaving it half in another protocol;
- the head and the body of a reply leave in one system call, not two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from host.gateway import problems
from host.gateway.limits import EdgeLimits
from host.gateway.requestid import new_request_id
from host.model.errors import RequestTimeout, TenureError, UsageError


class JoiningTransport:
    """A transport that keeps what is written until the loop comes round, and writes it in one piece."""

    __slots__ = ("_call_soon", "_kept", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._kept: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._kept:
            self._call_soon(self._flush)
        self._kept.append(data)

    def _flush(self) -> None:
        if self._kept:
            kept, self._kept = self._kept, []
            self._transport.writelines(kept)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class EdgeProtocol(HttpToolsProtocol):
    """`on_lost` is called when the connection is over."""

    def __init__(self, config: Config, state: ServerState, limits: EdgeLimits, on_lost: Callable[[], None]) -> None:
        super().__init__(config, state, {})
        self._limits = limits
        self._on_lost = on_lost
        self._head_open = True
        self._head_began = False
        self._head_bytes = 0
        self._head_since = self.loop.time()
        self._refused = False
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.parser is None:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self.cycle is not None:
                self.cycle.keep_alive = False
            self._refused = True
        except httptools.HttpParserError:
            self._refuse(UsageError("The request is not valid HTTP/1.1."))
        else:
            # The read in which a head began may hold much of what came before it, so it does not count. That one is
            # small by itself, and `Gateway` measures the head exactly once it is there.
            if self._head_began:
                self._head_began = False
            elif self._head_open:
                self._head_bytes += len(data)
                if self._head_bytes > self._limits.head_bytes_max:
                    self._refuse(problems.HeadersTooLarge(f"The headers are over {self._limits.head_bytes_max} bytes."))

    def on_message_begin(self) -> None:
        self._head_open = self._head_began = True
        self._head_bytes = 0
        self._head_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_open = False
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def close_if_stuck(self, now: float) -> None:
        """End a connection that owes us a request head for too long, or that sent stray bytes and then nothing."""
        if self.cycle is not None and not self.cycle.response_complete:
            return
        if self._head_open:
            if now - self._head_since > self._limits.head_wall_s:
                self._refuse(RequestTimeout(f"The headers did not arrive in {self._limits.head_wall_s:g} s."))
        elif self.timeout_keep_alive_task is None:
            self.transport.close()

    def leave(self) -> None:
        """End with the next reply, which tells the client so: one that is just sending a request loses nothing."""
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        self.transport.abort()

    def _refuse(self, error: TenureError) -> None:
        """Nothing more is read from this connection; it ends after the replies that earlier requests wait for."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        status, headers, body = problems.problem(error, request_id := new_request_id())
        lines: list[Any] = [STATUS_LINE[status]]
        for name, value in [
            *self.server_state.default_headers,
            *headers,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            (b"connection", b"close"),
        ]:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", body)
        self.transport.write(b"".join(lines))
        self.transport.close()


def protocol_factory(
    config: Config, state: ServerState, limits: EdgeLimits, on_lost: Callable[[], None]
) -> Callable[[], EdgeProtocol]:
    return lambda: EdgeProtocol(config, state, limits, on_lost)
