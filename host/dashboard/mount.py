"""Where the dashboard is: under /dashboard of the admin server, and the admin API is all the rest of it.

The dashboard is loaded when somebody asks for it for the first time, so a control process that comes back does not wait
for it. A browser that asks the admin server for / is sent there.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from host.dashboard.visitor import Network
from host.model.clock import Clock

PREFIX = "/dashboard"

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class WithDashboard:
    """`admin` with the dashboard beside it. `proxies` are those whose `X-Forwarded-*` headers are believed."""

    def __init__(self, admin: AsgiApp, clock: Clock, proxies: tuple[Network, ...] = ()) -> None:
        self._admin = admin
        self._arguments = (admin, clock, proxies)
        self._loading = asyncio.Lock()
        self._dashboard: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path == PREFIX or path.startswith(f"{PREFIX}/") or (path == "/" and _is_browser(scope)):
            app = self._dashboard or await self._load()
        else:
            app = self._admin
        await app(scope, receive, send)

    async def _load(self) -> AsgiApp:
        async with self._loading:
            if self._dashboard is None:
                module = await asyncio.to_thread(importlib.import_module, "host.dashboard.app")
                self._dashboard = module.create_dashboard(*self._arguments)
            return self._dashboard


def _is_browser(scope: Scope) -> bool:
    """Clients of the API ask for JSON or for anything."""
    return any(name == b"accept" and b"text/html" in value for name, value in scope.get("headers", ()))
