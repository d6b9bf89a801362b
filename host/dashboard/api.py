"""The admin API, as the dashboard asks it: in this process, with the key of who is signed in, and in no other way.

So a page can show and do exactly what its key can show and do. Scopes, tenants' isolation, limits and checks of input
are those of the admin API, written once and tested there; nothing of the registry or of actors is within its reach.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from host.dashboard.mount import AsgiApp, Scope
from host.telemetry.log import get

_PIECES_WAITING_MAX = 16

_log = get("dashboard.api")

Query = Mapping[str, str | int]


class ApiError(Exception):
    """The admin API refused: its status, and a sentence for each mistake."""

    def __init__(self, status: int, sentences: list[str], retry_after: str = "") -> None:
        super().__init__(" ".join(sentences))
        self.status = status
        self.sentences = sentences
        self.retry_after = retry_after


class Api:
    """`app` is the admin API's ASGI callable."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def ask(
        self, key: str, method: str, path: str, query: Query | None = None, body: Mapping[str, Any] | str | None = None
    ) -> Any:
        """The reply's JSON, None for an empty one. `path` begins after /v1 and is not percent-encoded; a `body` that
        is a text is sent as it is. Raises ApiError.
        """
        payload = b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        call = _Call(self._app, _scope(key, method, path, query or {}, payload), payload)
        try:
            await call.accepted()
            data = await call.rest()
        finally:
            await call.end()
        return json.loads(data) if data else None

    async def lines(self, key: str, path: str, query: Query) -> Lines:
        """What a reply without an end brings. Raises ApiError."""
        call = _Call(self._app, _scope(key, "GET", path, query, b""), b"")
        try:
            await call.accepted()
        except BaseException:
            await call.end()
            raise
        return Lines(call)


class Lines:
    """An asynchronous iterator over lists of lines, as they come. `aclose` ends the request."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._rest = b""

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> list[bytes]:
        piece = await self._call.piece()
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return lines

    async def aclose(self) -> None:
        await self._call.end()


class _Call:
    """One request over ASGI, whose reply's body is taken in pieces. It has to be ended, whatever becomes of it."""

    def __init__(self, app: AsgiApp, scope: Scope, payload: bytes) -> None:
        self._app = app
        self._scope = scope
        self._payload: bytes | None = payload
        self._arrived: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_PIECES_WAITING_MAX)
        self._complete = False
        self._gone = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    async def accepted(self) -> None:
        """When the reply begins. Raises ApiError for one that refuses."""
        start = await self._arrived.get()
        if start is None:
            raise ApiError(500, ["The host gave no answer."])
        if start["status"] >= 400:
            raise _refusal(start, await self.rest())

    async def piece(self) -> bytes | None:
        """The next of the body; None after the last."""
        if self._complete:
            return None
        message = await self._arrived.get()
        self._complete = message is None or not message.get("more_body", False)
        return None if message is None else bytes(message.get("body", b""))

    async def rest(self) -> bytes:
        data = bytearray()
        while (piece := await self.piece()) is not None:
            data += piece
        return bytes(data)

    async def end(self) -> None:
        """Go away, as a client would that has heard enough, and wait until the request has noticed."""
        self._gone.set()
        while not self._arrived.empty():
            self._arrived.get_nowait()
        await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except Exception as error:
            _log.exception("call_failed", error)
        await self._send(None)

    async def _send(self, message: dict[str, Any] | None) -> None:
        if not self._gone.is_set():
            await self._arrived.put(message)

    async def _receive(self) -> dict[str, Any]:
        payload, self._payload = self._payload, None
        if payload is not None:
            return {"type": "http.request", "body": payload, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}


def _scope(key: str, method: str, path: str, query: Query, payload: bytes) -> Scope:
    path = f"/v1{path}"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [
            (b"host", b"dashboard"),
            (b"authorization", b"Bearer " + key.encode(errors="replace")),
            (b"content-length", str(len(payload)).encode()),
        ],
        "client": ("dashboard", 0),  # no address: what visitors of the dashboard try keeps no client of the API waiting
        "server": None,
    }


def _refusal(start: Mapping[str, Any], data: bytes) -> ApiError:
    headers = {bytes(name).lower(): bytes(value).decode() for name, value in start["headers"]}
    try:
        sentences = [error["detail"] for error in json.loads(data)["errors"]]
    except (ValueError, KeyError, TypeError):
        sentences = ["The host could not do this."]
    return ApiError(start["status"], sentences, headers.get(b"retry-after", ""))
