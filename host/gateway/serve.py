"""How the data plane's ASGI callable gets onto a port: two edges with one small interface.

`UvicornEdge` (uvicorn's httptools protocol) is the fast one and the default; `hypercorn_edge.HypercornEdge` also speaks
HTTP/2, in a module of its own because importing Hypercorn is a good part of the time that a host starts in. Both run
inside the loop that is running, leave signals alone and write no access log: the host's life belongs to
`host.server`. Neither runs the callable's lifespan.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
import weakref
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any, Protocol, cast

import uvicorn.config
from uvicorn.server import ServerState

from host.gateway.limits import EDGE_LIMITS, EdgeLimits
from host.gateway.listen import AsgiApp, DirectApp
from host.gateway.protocol import EdgeProtocol, protocol_factory

LINGER_S = 0.25
"""An idle connection stays so long when its edge stops, for a request that may be on its way."""

GREETING_S = 2.0
"""A connection that is agreeing on TLS when its edge stops gets so long: the edge took it, so it has to answer it."""

_TICK_S = 1.0
_TICKS_PER_SWEEP = 5
_LOOK_S = 0.005


class Edge(Protocol):
    async def start(self) -> None:
        """Take connections from the socket."""

    async def stop(self, grace_s: float) -> None:
        """Stop listening, let requests in flight end for up to `grace_s` seconds, then cut what is left."""


class Edges:
    """Several as one."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self._edges = edges

    async def start(self) -> None:
        for edge in self._edges:
            await edge.start()

    async def stop(self, grace_s: float) -> None:
        await asyncio.gather(*(edge.stop(grace_s) for edge in self._edges))


class UvicornEdge:
    """uvicorn's HTTP/1.1 protocol on a listening socket, which it closes when it stops."""

    def __init__(
        self,
        app: AsgiApp,
        sock: socket.socket,
        limits: EdgeLimits = EDGE_LIMITS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sock, self._limits, self._tls = sock, limits, tls
        self._direct = app if isinstance(app, DirectApp) else None
        self._state = ServerState()
        self._config = uvicorn.config.Config(
            cast(Any, app),
            http=EdgeProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # it logs what a client does wrong; the host's own errors are logged by the app
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.keep_alive_s),
        )
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._empty: asyncio.Event = asyncio.Event()
        self._taken: weakref.WeakSet[EdgeProtocol] = weakref.WeakSet()

    async def start(self) -> None:
        self._config.load()
        self._tick()
        factory = protocol_factory(self._config, self._state, self._direct, self._limits, self._on_lost)
        loop = asyncio.get_running_loop()

        def take() -> EdgeProtocol:
            protocol = factory()
            self._taken.add(protocol)
            return protocol

        self._server = await loop.create_server(
            factory if self._tls is None else take,
            sock=self._sock,
            backlog=self._limits.backlog,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else self._limits.head_wall_s,
        )

    async def stop(self, grace_s: float) -> None:
        if self._server is None:
            return
        self._server.close()
        await self._greeted(min(GREETING_S, grace_s))
        connections = cast(set[EdgeProtocol], self._state.connections)
        for connection in list(connections):
            connection.leave()
        if not await self._emptied(min(LINGER_S, grace_s)):
            for connection in list(connections):
                connection.shutdown()
            if not await self._emptied(grace_s):
                for task in list(self._state.tasks):
                    task.cancel()
                for connection in list(connections):
                    connection.abort()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks))
        if self._timer is not None:
            self._timer.cancel()
        await self._server.wait_closed()
        self._server = None

    async def _greeted(self, seconds: float) -> None:
        """Until those that came with TLS have agreed on it, or for so long: who never does is not heard of again."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while clock() < end and any(one.transport is None for one in self._taken):  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(_LOOK_S)

    async def _emptied(self, seconds: float) -> bool:
        """Whether all connections ended within so long."""
        self._empty.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if self._state.connections else 0):
                await self._empty.wait()
        return not self._state.connections

    def _on_lost(self) -> None:
        if not self._state.connections:
            self._empty.set()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._ticks += 1
        if self._ticks % _TICKS_PER_SWEEP == 0:
            now = loop.time()
            for connection in list(cast(set[EdgeProtocol], self._state.connections)):
                connection.close_if_stuck(now)
        self._timer = loop.call_later(_TICK_S, self._tick)
