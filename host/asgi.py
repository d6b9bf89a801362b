"""The whole host as one ASGI callable, for any server that runs those: `hypercorn "host.asgi:create_app()"`.

Requests to a function's host name go to the functions, all others to the admin API. The rooms start with the server's
lifespan and stop with it. The data folder and the base domain come from TENURE_DATA (`.tenure`) and TENURE_BASE_DOMAIN
(`localhost`), the URLs of functions from TENURE_PUBLIC_URL or, without it, their port from TENURE_PORT (80: none is
printed).

`tenure serve` runs the two halves on two ports instead, so that the admin API can stay on loopback.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

from host.config import (
    ServeConfig,
    host_limits,
    host_quotas,
    keep_rule,
    permitted_networks,
    public_address,
    secrets_key,
    trusted_proxies,
)
from host.gateway.app import Message, Receive, Scope, Send
from host.gateway.hostname import HostNames
from host.gateway.listen import AsgiApp
from host.model.address import Address
from host.model.clock import SystemClock
from host.server import Host


class OnePort:
    """ASGI 3: lifespan and http. Serves nothing before its lifespan has started."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._names = HostNames(config.base_domain)
        self._stack = AsyncExitStack()
        self.host: Host | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self.host is None:
            raise RuntimeError("the server does not run this application's lifespan: turn it on")
        app = self._functions if self._is_function(scope) else self._admin
        await app(scope, receive, send)

    def _is_function(self, scope: Scope) -> bool:
        name = next((value for key, value in scope.get("headers", ()) if key == b"host"), b"")
        return self._names.label(name) is not None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:
            await self._stack.aclose()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        message: Message = await receive()
        while message["type"] != "lifespan.shutdown":
            message = await receive()
        self.host = None
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        host = Host(self._config, SystemClock())
        await host.build(self._stack)
        host.control.listen_url = f"http://{self._config.listen}"
        self._functions: AsgiApp = host.worker.gateway()
        self._admin = host.control.admin_app()
        self.host = host


def create_app(config: ServeConfig | None = None) -> OnePort:
    """The callable. Without `config` the environment is read. Raises ValueError for a bad environment."""
    if config is None:
        named = os.environ.get("TENURE_PUBLIC_URL", ""), os.environ.get("TENURE_BASE_DOMAIN") or None
        public_url, domain = public_address(*named)
        config = ServeConfig(
            data_dir=Path(os.environ.get("TENURE_DATA", ".tenure")),
            listen=Address("127.0.0.1", int(os.environ.get("TENURE_PORT", "80"))),
            base_domain=domain,
            public_url=public_url,
            limits=host_limits(),
            outbound_permitted=permitted_networks(),
            trusted_proxies=trusted_proxies(),
            quotas=host_quotas(),
            keep=keep_rule(),
            secrets_key=secrets_key(),
        )
    return OnePort(config)
