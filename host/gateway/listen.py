"""What HTTP comes in by, whichever edge speaks it: the ASGI callable's type, a listening socket, the loop to run in.

Apart from the edges because the control process starts without them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, runtime_checkable

from host.gateway.limits import EDGE_LIMITS

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


Respond = Callable[[int, list[tuple[bytes, bytes]], int | None, bytes], None]
"""(status, headers, length, body): the whole of a response, `length` None where HTTP forbids a content-length."""


@runtime_checkable
class DirectApp(Protocol):
    """What an ASGI callable may be besides: it takes a request that is there whole without a task and messages."""

    def begin(self, scope: MutableMapping[str, Any], body: bytes, respond: Respond) -> asyncio.Future[Any] | None:
        """`respond` is called once, now or later. Returns what to cancel when the client goes, None if it was now."""
        ...


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop to run a host in: uvloop where it exists, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def listening_socket(
    host: str, port: int, *, backlog: int = EDGE_LIMITS.backlog, shared: bool = False
) -> socket.socket:
    """A bound, listening TCP socket. `shared`: others may listen on the same address, and the kernel shares out the
    connections among them. Raises OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, proto, _, address = found[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
