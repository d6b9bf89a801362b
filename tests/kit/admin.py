"""The admin API as tests and tools use it: one coroutine for each route, and shipping in one call."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.kit import artifacts
from tests.kit.bundles import bundle_of
from tests.kit.conformity import check_reply

Json = dict[str, Any]

_POLL_S = 0.05
_DEPLOY_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Shipped:
    """A function that serves. `host` is the Host header that reaches it."""

    id: str
    name: str
    url: str
    version: Json

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


class ShipFailed(AssertionError):
    """The host refused the version; `version` is what it says of it."""

    def __init__(self, version: Json) -> None:
        super().__init__(f"version was not deployed: {version}")
        self.version = version


class Admin:
    """A client of one host's admin API, used as `async with`. Methods raise httpx.HTTPStatusError for 4xx and 5xx.

    `compiled` is the host's folder of artifacts; with it, what another host has compiled is not compiled again.
    """

    def __init__(self, url: str, key: str, compiled: Path | None = None) -> None:
        self._compiled = compiled
        headers = {"authorization": f"Bearer {key}"}
        hooks = {"response": [_check]}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False, event_hooks=hooks)

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def create(self, name: str, *, actor: bool = True) -> Json:
        return await self._json("POST", "/v1/functions", json={"name": name, "actor": actor})

    async def function(self, ref: str) -> Json:
        return await self._json("GET", f"/v1/functions/{ref}")

    async def delete(self, ref: str) -> None:
        (await self.http.delete(f"/v1/functions/{ref}")).raise_for_status()

    async def upload(self, ref: str, bundle: bytes) -> httpx.Response:
        """Ship a bundle; the reply as it is, whatever its status."""
        headers = {"content-type": "application/zip"}
        return await self.http.post(f"/v1/functions/{ref}/versions", content=bundle, headers=headers)

    async def deploy(self, ref: str, bundle: bytes) -> Json:
        """Ship a bundle and wait until it serves. Raises ShipFailed."""
        if self._compiled is not None:
            await asyncio.to_thread(artifacts.lend, bundle, self._compiled)
        response = await self.upload(ref, bundle)
        response.raise_for_status()
        version = await self.settled(ref, response.json()["number"])
        if self._compiled is not None:
            await asyncio.to_thread(artifacts.keep, version["digest"], self._compiled)
        return version

    async def settled(self, ref: str, number: int) -> Json:
        """A version once it is compiled and serves. Raises ShipFailed when it will not."""
        end = time.monotonic() + _DEPLOY_DEADLINE_S
        while True:
            version = await self._json("GET", f"/v1/functions/{ref}/versions/{number}")
            if version["status"] == "deploy_ok":
                return version
            if version["status"] != "compiling" or time.monotonic() > end:
                raise ShipFailed(version)
            await asyncio.sleep(_POLL_S)

    async def ship(self, project: Path, *, name: str | None = None) -> Shipped:
        """Build a project folder, register it (under its manifest's name if none is given), ship it."""
        function = await self.create(name or project.name)
        version = await self.deploy(function["id"], bundle_of(project, function["id"], function["name"]))
        return Shipped(function["id"], function["name"], function["url"], version)

    async def _json(self, method: str, path: str, **arguments: Any) -> Json:
        response = await self.http.request(method, path, **arguments)
        response.raise_for_status()
        value: Json = response.json()
        return value


async def _check(response: httpx.Response) -> None:
    """Against the document. A reply that may not end is not read."""
    body = await response.aread() if response.headers.get("content-type") == "application/json" else None
    request = response.request
    check_reply(request.method, request.url.path, response.status_code, response.headers, body)
