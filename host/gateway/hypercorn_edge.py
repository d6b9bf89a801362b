"""The edge that speaks HTTP/2, and the admin API's: Hypercorn on a listening socket. See `serve`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import MutableMapping
from typing import Any, cast

import hypercorn.asyncio
import hypercorn.config

from host.gateway.limits import EDGE_LIMITS, EdgeLimits
from host.gateway.listen import AsgiApp


class HypercornEdge:
    """Hypercorn: HTTP/1.1 and HTTP/2 (prior knowledge), on a listening socket, which it closes when it stops."""

    def __init__(
        self,
        app: AsgiApp,
        sock: socket.socket,
        limits: EdgeLimits = EDGE_LIMITS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._app, self._sock = app, sock
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        config = hypercorn.config.Config() if tls is None else _Secure(tls)
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.keep_alive_timeout = limits.keep_alive_s
        config.keep_alive_max_requests = 1_000_000
        config.h11_max_incomplete_size = limits.head_bytes_max
        config.h2_max_header_list_size = limits.head_bytes_max
        config.backlog = limits.backlog
        self._config = config

    async def start(self) -> None:
        self._config.bind = [f"fd://{self._sock.detach()}"]
        app = cast(Any, _WithoutLifespan(self._app))
        self._task = asyncio.create_task(
            hypercorn.asyncio.serve(app, self._config, shutdown_trigger=self._stopping.wait, mode="asgi")
        )

    async def stop(self, grace_s: float) -> None:
        if self._task is None:
            return
        self._config.graceful_timeout = grace_s
        self._stopping.set()
        # After a grace that ran out Hypercorn ends as cancelled; there is nothing to tell apart.
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error
        self._task = None


class _Secure(hypercorn.config.Config):
    """With a context that is there already, in place of the names of files."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context


class _WithoutLifespan:
    """Answers the lifespan itself: the host's life is not the server's to run."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
