"""One HTTP/1.1 connection of the uvicorn edge: uvicorn's own protocol, with the bounds and errors of this host.

What uvicorn leaves open and this settles:
- a request head has a size and a time in which it must arrive;
- a malformed request gets the host's JSON error, after the replies that are still owed to requests before it;
- an upgrade that is not served ends the connection instead of leaving it half in another protocol;
- the head and the body of a reply leave in one system call, not two;
- a request that is there whole in the read that it began in, as most are, is answered without a task, a queue of
  messages or a coroutine for each part of the reply (`DirectApp`). One that was pipelined, or whose client does not
  read what it is sent, waits as any other application's would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from host.gateway import problems
from host.gateway.limits import EdgeLimits
from host.gateway.listen import DirectApp
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

    def write_now(self, data: bytes) -> None:
        self._flush()
        self._transport.write(data)

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

    def __init__(
        self,
        config: Config,
        state: ServerState,
        direct: DirectApp | None,
        limits: EdgeLimits,
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(config, state, {})
        self._direct = direct
        self._limits = limits
        self._reading = False
        self._fresh: RequestResponseCycle | None = None
        """Of the request whose head was in the read that is being parsed."""
        self._under_way: asyncio.Future[Any] | None = None
        self._on_lost = on_lost
        self._head_open = True
        self._head_began = False
        self._head_bytes = 0
        self._head_since = self.loop.time()
        self._refused = False
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._joining = JoiningTransport(transport, self.loop)
        super().connection_made(self._joining)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._under_way is not None:
            self._under_way.cancel()
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.parser is None:
            return
        self._unset_keepalive_if_required()
        self._reading = True
        self._parse(data)
        self._reading = False
        cycle, self._fresh = self._fresh, None
        if cycle is not None:
            if self._direct is None or cycle.more_body or self.flow.write_paused:
                super()._start_asgi_task(cycle, self.app)
            else:
                respond = partial(self._respond, cycle)
                self._under_way = self._direct.begin(cast(Any, cycle.scope), bytes(cycle.body), respond)

    def _parse(self, data: bytes) -> None:
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._reading:
            self._fresh = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def _respond(
        self,
        cycle: RequestResponseCycle,
        status: int,
        headers: list[tuple[bytes, bytes]],
        length: int | None,
        body: bytes,
    ) -> None:
        self._under_way = None
        if cycle.disconnected or self.transport.is_closing():
            return
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        self._joining.write_now(self._message(status, headers, body))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _message(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
        lines: list[Any] = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", body)
        return b"".join(lines)

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
        headers += (
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            (b"connection", b"close"),
        )
        self.transport.write(self._message(status, headers, body))
        self.transport.close()


def protocol_factory(
    config: Config, state: ServerState, direct: DirectApp | None, limits: EdgeLimits, on_lost: Callable[[], None]
) -> Callable[[], EdgeProtocol]:
    return lambda: EdgeProtocol(config, state, direct, limits, on_lost)
