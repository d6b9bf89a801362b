"""Another process of this host that may die and come back: where it is found, and what waits for it meanwhile.

`listen` takes links from others on a socket file that only this user can reach; a `Peer` makes the one link over which
this process asks another. While there is none, requests wait in the order made, up to a number, a size and a time:
a worker that died is back within a second, so its callers see a pause. What was sent before it died has failed by then
(`link`); only what never left this process waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from host.cluster.link import FRAME_BYTES_MAX, Done, Handlers, Link, LinkRefused
from host.model.limits import MiB
from host.telemetry import log

WAITING_MAX = 10_000
WAITING_BYTES_MAX = 64 * MiB
PATIENCE_S = 10.0
"""How long a request waits for a process that is not there."""

RETRY_FIRST_S, RETRY_S_MAX = 0.01, 0.2
BACKLOG = 128

_PATH_BYTES_MAX = 100
"""The kernel takes 107 bytes as a socket's path."""

_log = log.get("cluster.peer")


EVERYTHING = 0
"""The urgency from which on requests are sent while nothing is held."""


Dial = Callable[[Path], Awaitable[socket.socket]]
"""Makes a connection to the socket file at a path. Raises OSError when nobody listens there."""


class _Waiting(NamedTuple):
    until: float
    urgency: int
    kind: int
    payload: bytes
    done: Done | None


class Peer:
    """The way to one other process, from `start` until `close`. Everything runs on the loop.

    `on_open(link)` and `on_lost(link)` are called for each link, in turn; what `on_open` sends goes before what waited.
    """

    def __init__(
        self,
        path: Path,
        me: int,
        handlers: Handlers,
        on_open: Callable[[Link], None] = lambda link: None,
        on_lost: Callable[[Link], None] = lambda link: None,
        patience_s: float = PATIENCE_S,
        dial: Dial | None = None,
    ) -> None:
        self.link: Link | None = None
        self._path, self._me, self._handlers = path, me, handlers
        self._told_open, self._told_lost = on_open, on_lost
        self._patience_s = patience_s
        self._dial = dial or connected
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._held_below = EVERYTHING
        self._dialling: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to connect, and go on until there is a link."""
        if self._dialling is None and not self._closed:
            self._dialling = asyncio.get_running_loop().create_task(self._connect())

    @property
    def waiting(self) -> int:
        """Messages that wait for the process to be back."""
        return len(self._waiting)

    @property
    def unanswered(self) -> int:
        """Requests that were sent over the link that is open now and whose reply has not come."""
        return 0 if self.link is None else self.link.unanswered

    @property
    def holding(self) -> bool:
        """From `hold` to the next `move`."""
        return self._held_below > EVERYTHING

    def hold(self, below: int) -> None:
        """Until `move`, send only requests of urgency `below` or above; others wait although there is a link."""
        self._held_below = below
        if self.link is not None:
            self._send_waiting(self.link)

    def move(self, path: Path) -> None:
        """The process is found at `path` from now on: what waits goes there. What was sent to where it was before may
        still be answered from there.
        """
        self._held_below = EVERYTHING
        if path != self._path:
            self._path = path
            if self._dialling is not None:
                self._dialling.cancel()
                self._dialling = None
            left, self.link = self.link, None
            if left is not None:
                self._told_lost(left)
                left.retire()
            self.start()
        elif self.link is not None:
            self._send_waiting(self.link)

    def request(self, kind: int, payload: bytes, done: Done, urgency: int = EVERYTHING) -> None:
        """As `Link.request`; without a link it waits for one, or `done` gets LinkRefused."""
        link = self.link
        if link is not None and link.open and urgency >= self._held_below:
            link.request(kind, payload, done)
            return
        refusal = self._wait(urgency, kind, payload, done)
        if refusal is not None:
            done(refusal)

    def post(self, kind: int, payload: bytes) -> None:
        """As `Link.post`; without a link it waits for one, and is dropped when none comes. Raises LinkRefused."""
        link = self.link
        if link is not None and link.open and not self.holding:
            link.post(kind, payload)
            return
        refusal = self._wait(EVERYTHING, kind, payload, None)
        if refusal is not None:
            raise refusal

    async def close(self) -> None:
        """End the link; what waits fails."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dialling
        if self._expiry is not None:
            self._expiry.cancel()
        if self.link is not None:
            self.link.close()
        self._refuse_waiting("this process is stopping", float("inf"))

    def _wait(self, urgency: int, kind: int, payload: bytes, done: Done | None) -> LinkRefused | None:
        if self._closed:
            return LinkRefused("this process is stopping")
        if len(payload) > FRAME_BYTES_MAX:
            return LinkRefused(f"a message has {FRAME_BYTES_MAX} bytes at most, this one {len(payload)}")
        if len(self._waiting) >= WAITING_MAX or self._waiting_bytes + len(payload) > WAITING_BYTES_MAX:
            return LinkRefused(f"too much waits already for the process at {self._path.name}")
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        self._waiting.append(_Waiting(until, urgency, kind, payload, done))
        self._waiting_bytes += len(payload)
        if self._expiry is None:
            self._expiry = loop.call_at(until, self._expire)
        return None

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._expiry = None
        self._refuse_waiting(f"the process at {self._path.name} did not come back in time", loop.time())
        if self._waiting and self._expiry is None:
            self._expiry = loop.call_at(self._waiting[0].until, self._expire)

    def _refuse_waiting(self, why: str, until: float) -> None:
        while self._waiting and self._waiting[0].until <= until:
            one = self._waiting.popleft()
            self._waiting_bytes -= len(one.payload)
            if one.done is not None:
                try:
                    one.done(LinkRefused(why))
                except Exception as error:
                    _log.exception("refusal_not_taken", error)

    async def _connect(self) -> None:
        """Until a link is made: it greets and calls `_opened` later."""
        loop = asyncio.get_running_loop()
        pause_s = RETRY_FIRST_S
        path = self._path
        while True:
            greeted: asyncio.Future[None] = loop.create_future()

            def opened(link: Link, greeted: asyncio.Future[None] = greeted) -> None:
                if greeted.done() or path != self._path:  # too late: given up, or moved
                    link.close()
                else:
                    greeted.set_result(None)
                    self._opened(link)

            try:
                sock = await self._dial(path)
                transport, _ = await loop.create_unix_connection(
                    lambda opened=opened: Link(self._me, self._handlers, opened, self._lost),  # type: ignore[misc]
                    sock=sock,
                )
                try:
                    await asyncio.wait_for(greeted, RETRY_S_MAX)
                    return
                except TimeoutError:
                    transport.abort()
                except asyncio.CancelledError:
                    transport.abort()
                    raise
            except OSError:
                pass  # it is not there yet
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_S_MAX)

    def _opened(self, link: Link) -> None:
        self._dialling = None
        self.link = link
        self._told_open(link)
        self._send_waiting(link)

    def _send_waiting(self, link: Link) -> None:
        """In order, but for what is held."""
        held: deque[_Waiting] = deque()
        while self._waiting and link.open:
            one = self._waiting.popleft()
            if one.urgency < self._held_below:
                held.append(one)
                continue
            self._waiting_bytes -= len(one.payload)
            if one.done is not None:
                link.request(one.kind, one.payload, one.done)
            else:
                with contextlib.suppress(LinkRefused):
                    link.post(one.kind, one.payload)
        held.extend(self._waiting)
        self._waiting = held
        if self._expiry is not None and not held:
            self._expiry.cancel()
            self._expiry = None

    def _lost(self, link: Link) -> None:
        if self.link is not link:
            return
        self.link = None
        self._told_lost(link)
        self.start()


class Listener:
    """The links that others made to this process. Everything runs on the loop."""

    def __init__(self, on_open: Callable[[Link], None], on_lost: Callable[[Link], None]) -> None:
        self.links: set[Link] = set()
        self._told_open, self._told_lost = on_open, on_lost
        self._server: asyncio.Server | None = None

    def opened(self, link: Link) -> None:
        self.links.add(link)
        self._told_open(link)

    def lost(self, link: Link) -> None:
        self.links.discard(link)
        self._told_lost(link)

    def serve(self, server: asyncio.Server) -> None:
        self._server = server

    def stop(self) -> None:
        """Take no more links."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """Take no more links and end those there are, after what they have to send."""
        self.stop()
        for link in list(self.links):
            link.close()


async def listen(
    where: Path | socket.socket,
    me: int,
    handlers: Handlers,
    on_open: Callable[[Link], None] = lambda link: None,
    on_lost: Callable[[Link], None] = lambda link: None,
) -> Listener:
    """Take links at a path, whose folder must exist: a socket with mode 0600, in place of what a dead process left; or
    on a socket that listens already, which is closed with the listener.

    `on_open(link)` and `on_lost(link)` are called for each link. Raises OSError.
    """
    listener = Listener(on_open, on_lost)
    sock = bound(where) if isinstance(where, Path) else where
    try:
        sock.setblocking(False)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Link(me, handlers, listener.opened, listener.lost), sock=sock, backlog=BACKLOG
        )
    except BaseException:
        sock.close()
        raise
    listener.serve(server)
    return listener


def bound(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket, mode 0600, that listens at `path`, in place of what a dead process left there. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)
        _bind(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, path: Path) -> None:
    """Under another name first: nobody finds a socket that does not listen yet, or that others may open."""
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(fresh.lstat().st_mode):
            fresh.unlink()
    with short_name(fresh) as name:
        sock.bind(name)
    fresh.chmod(0o600)
    sock.listen(BACKLOG)
    fresh.rename(path)


async def connected(path: Path) -> socket.socket:
    """The `Dial` of a process that may connect itself."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with short_name(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket's address, however deep the data folder is."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
