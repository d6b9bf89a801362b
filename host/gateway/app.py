"""The data plane: one plain ASGI 3 callable between an HTTP server and the functions.

A request's Host header names a function; its serving version answers. This file is on the path of every request, so it
does little, and the common case (a small request, an answer in time) makes no task, timer or event of its own.

Invariants:
- Every reply carries `x-request-id`, and so does the request that the guest sees.
- The host alone frames messages: lengths and connection headers of clients and guests go no further than here.
- A call whose client has gone is cancelled. To notice that costs a task, so only calls that outlive a sweep
  (`_SWEEP_S`) are watched; a shorter one is over before anybody could have acted on it.
- No exception leaves `__call__`, except the cancellation of the server's own task.

Not here: how bytes become ASGI events (`serve.py`), what a header may hold (`translate.py`), how a function runs
(`host.invoke`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from host.gateway import problems, translate
from host.gateway.hostname import HostNames
from host.gateway.limits import EDGE_LIMITS, EdgeLimits
from host.gateway.listen import Respond
from host.gateway.requestid import new_request_id
from host.model.errors import MethodNotAllowed, RequestTimeout, TenureError, Unavailable
from host.model.message import HttpRequest, HttpResponse, body_to_wire
from host.model.trace import Sampler, traced, traceparent_of
from host.model.version import Version
from host.telemetry import log as logs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Route = Callable[[str], Version | None]
WhyUnavailable = Callable[[str], str | None]
Domain = Callable[[str], str | None]
Fetch = Callable[[Version, HttpRequest], "asyncio.Future[HttpResponse]"]
Admit = Callable[[Version], None]

log = logs.get("gateway.app")

STOPPED = "The host stopped this call; try again."

_SWEEP_S = 0.1


class Disconnected(Exception):
    """The client has gone: there is nobody to answer."""


def _unknown(_label: str) -> None:
    """Nothing is known of this label."""


def _everything(_version: Version) -> None:
    """Nothing has a quota."""


class Gateway:
    """The ASGI callable.

    `route(label)` finds the version that serves a host label; `fetch(version, request)` runs its handler and returns a
    future whose errors are TenureError. The gateway cancels that future when the client goes. `why_unavailable(label)`
    says why a function that is deployed has no route at the moment. `sampler` says which requests are traced.
    `domain(name)` is the label of the function that a host name of its own leads to.
    `admit(version)` counts a request against the quotas and raises TooManyRequests.
    """

    def __init__(
        self,
        route: Route,
        fetch: Fetch,
        base_domain: str,
        limits: EdgeLimits = EDGE_LIMITS,
        why_unavailable: WhyUnavailable = _unknown,
        sampler: Sampler | None = None,
        domain: Domain = _unknown,
        admit: Admit = _everything,
    ) -> None:
        self._route = route
        self._domain = domain
        self._admit_quota = admit
        self._why_unavailable = why_unavailable
        self._fetch = fetch
        self._names = HostNames(base_domain)
        self._limits = limits
        self._sampler = sampler
        self._watch = _DisconnectWatch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"unknown kind of ASGI connection: {kind}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = b""
        upload_left = True
        try:
            head = translate.read_head(scope["headers"])
            request_id = head.request_id or new_request_id()
            upload_left = head.framed or scope["http_version"][0] != "1"
            version = self._admit(scope, head)
            body = b""
            if upload_left:
                body = await self._read_body(receive, head.length, version.limits.body_bytes_max)
                upload_left = False
            future = self._ask(version, scope, head, request_id, body)
            response = await (future if future.done() else self._watch.outcome(future, receive))
            reply = self._reply(version, scope["method"], response)
        except Disconnected:
            return
        except Exception as error:
            request_id = request_id or new_request_id()
            await self._refuse(_shown(error, request_id), request_id, scope, receive, send, upload_left)
            return
        await _send(send, reply.status, [*reply.headers, (b"x-request-id", request_id)], reply.length, reply.body)

    def begin(self, scope: Scope, body: bytes, respond: Respond) -> asyncio.Future[HttpResponse] | None:
        """As `gateway.listen.DirectApp` has it: the same for a request that is there whole."""
        request_id = b""
        try:
            head = translate.read_head(scope["headers"])
            request_id = head.request_id or new_request_id()
            version = self._admit(scope, head)
            if len(body) > version.limits.body_bytes_max:
                raise translate.too_large(version.limits.body_bytes_max)
            future = self._ask(version, scope, head, request_id, body)
        except Exception as error:
            _respond_error(error, request_id or new_request_id(), scope, respond)
            return None
        future.add_done_callback(partial(self._end, version, scope, request_id, respond))
        return future

    def _end(
        self,
        version: Version,
        scope: Scope,
        request_id: bytes,
        respond: Respond,
        future: asyncio.Future[HttpResponse],
    ) -> None:
        try:
            if future.cancelled():
                raise Unavailable(STOPPED)  # or the client has gone, and nobody hears it
            reply = self._reply(version, scope["method"], future.result())
        except Exception as error:
            _respond_error(error, request_id, scope, respond)
            return
        respond(reply.status, [*reply.headers, (b"x-request-id", request_id)], reply.length, reply.body)

    def _ask(
        self, version: Version, scope: Scope, head: translate.RequestHead, request_id: bytes, body: bytes
    ) -> asyncio.Future[HttpResponse]:
        request = _request(scope, head, request_id, body)
        if self._sampler is not None:
            request = _begin_trace(self._sampler, request)
        return self._fetch(version, request)

    def _reply(self, version: Version, method: str, response: HttpResponse) -> translate.Reply:
        bytes_max = version.limits.body_bytes_max
        return translate.read_reply(response, method, bytes_max, self._limits.reply_head_bytes_max)

    def _admit(self, scope: Scope, head: translate.RequestHead) -> Version:
        """The version that answers; raises the TenureError that refuses the request on its head alone."""
        target_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if len(head.block) + target_bytes > self._limits.head_bytes_max:
            raise problems.HeadersTooLarge(f"URL and headers are over {self._limits.head_bytes_max} bytes together.")
        if scope["method"] == "CONNECT":
            raise MethodNotAllowed("This is not a proxy: CONNECT is not served.")
        if head.upgrade == b"websocket":
            raise problems.NotImplementedHere("WebSockets are not served.")
        label = self._names.label(head.host)
        if label is None and (name := self._names.other(head.host)) is not None:
            label = self._domain(name)
        version = self._route(label) if label is not None else None
        if version is None:
            reason = self._why_unavailable(label) if label is not None else None
            raise problems.unknown_host() if reason is None else Unavailable(reason)
        self._admit_quota(version)
        return version

    async def _read_body(self, receive: Receive, length: int | None, bytes_max: int) -> bytes:
        """The whole body. Raises TooLarge as soon as it passes `bytes_max`, RequestTimeout, Disconnected."""
        if length is not None and length > bytes_max:
            raise translate.too_large(bytes_max)
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > bytes_max:
                raise translate.too_large(bytes_max)
            return body
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_wall_s):
                while True:
                    if message["type"] != "http.request":
                        raise Disconnected
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > bytes_max:
                        raise translate.too_large(bytes_max)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
                    message = await receive()
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive in {self._limits.body_wall_s:g} s.") from None

    async def _refuse(
        self, error: TenureError, request_id: bytes, scope: Scope, receive: Receive, send: Send, upload_left: bool
    ) -> None:
        """Answer with an error. With an upload left unread the connection ends, after the upload or its bounds."""
        status, headers, length, body = _problem(error, request_id, scope)
        if not upload_left:
            await _send(send, status, headers, length, body)
            return
        if scope["http_version"][0] == "1":
            headers.append((b"connection", b"close"))
        headers.append((b"content-length", b"%d" % length))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await self._drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self, receive: Receive) -> None:
        """Read and drop what the client still sends, so that it gets to reading the reply."""
        left = self._limits.drain_bytes_max
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_wall_s):
                while left > 0:
                    async with asyncio.timeout(self._limits.drain_idle_s):
                        message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))


class _DisconnectWatch:
    """Cancels the futures of clients that have gone, at the cost of one timer for all of them.

    A call is registered while it is awaited. Every `_SWEEP_S` the calls that were already there at the sweep before get
    a task each, which waits for the client to go.
    """

    def __init__(self) -> None:
        self._fresh: dict[asyncio.Future[HttpResponse], Receive] = {}
        self._aged: dict[asyncio.Future[HttpResponse], Receive] = {}
        self._watchers: dict[asyncio.Future[HttpResponse], asyncio.Task[None]] = {}
        self._gone: set[asyncio.Future[HttpResponse]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def outcome(self, future: asyncio.Future[HttpResponse], receive: Receive) -> HttpResponse:
        """The future's result. Raises Disconnected when the client went, Unavailable when the host cancelled it."""
        self._fresh[future] = receive
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._gone:
                raise Disconnected from None
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable(STOPPED) from None
        finally:
            if self._fresh.pop(future, None) is None and self._aged.pop(future, None) is None:
                self._gone.discard(future)
                watcher = self._watchers.pop(future, None)
                if watcher is not None:
                    watcher.cancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for future, receive in self._aged.items():
            self._watchers[future] = loop.create_task(self._wait_for_disconnect(future, receive))
        self._aged, self._fresh = self._fresh, {}
        self._timer = loop.call_later(_SWEEP_S, self._sweep) if self._aged else None

    async def _wait_for_disconnect(self, future: asyncio.Future[HttpResponse], receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not future.done():
            self._gone.add(future)
            future.cancel()


def _request(scope: Scope, head: translate.RequestHead, request_id: bytes, body: bytes) -> HttpRequest:
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
    target = translate.request_target(raw_path, scope["query_string"])
    url = f"{scope['scheme']}://{head.host.decode('latin-1')}{target}"
    block = b"%sx-request-id: %s\n" % (head.block, request_id)
    wire, binary = body_to_wire(body) if body else (b"", False)
    return HttpRequest(scope["method"], url, block, wire, binary, request_id.decode())


def _begin_trace(sampler: Sampler, request: HttpRequest) -> HttpRequest:
    """With its span, which the guest reads in `traceparent`; as it is when it is not traced."""
    trace = sampler.begin(traceparent_of(request.headers))
    return request if trace is None else request._replace(headers=traced(request.headers, trace), trace=trace)


def _shown(error: Exception, request_id: bytes) -> TenureError:
    """What of it the client may see; what the host did wrong is in its log."""
    if isinstance(error, TenureError):
        return error
    log.exception("request_failed", error, request=request_id.decode())
    return problems.internal_error(request_id)


def _problem(error: TenureError, request_id: bytes, scope: Scope) -> tuple[int, list[tuple[bytes, bytes]], int, bytes]:
    """(status, headers, length, body)"""
    status, headers, body = problems.problem(error, request_id)
    headers.append((b"x-request-id", request_id))
    return status, headers, len(body), b"" if scope["method"] == "HEAD" else body


def _respond_error(error: Exception, request_id: bytes, scope: Scope, respond: Respond) -> None:
    respond(*_problem(_shown(error, request_id), request_id, scope))


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], length: int | None, body: bytes) -> None:
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
