"""A client of one function: it connects to the host's address and names the function in the Host header."""

from __future__ import annotations

from typing import Any

import httpx

_TIMEOUT_S = 60.0


class Site:
    """Requests to one function of the host at `url`. Redirects are not followed; connections are kept."""

    def __init__(self, url: str, host: str) -> None:
        self.url, self.host = url, host
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False, limits=limits)

    async def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """`arguments` as httpx has them: headers (a mapping or pairs), content, json."""
        headers = httpx.Headers(arguments.pop("headers", None))
        headers.setdefault("host", self.host)
        return await self._http.request(method, path, headers=headers, **arguments)

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.ask("GET", path, **arguments)

    async def post(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.ask("POST", path, **arguments)

    async def close(self) -> None:
        await self._http.aclose()
