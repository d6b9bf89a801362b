"""Messages between the processes of one host: ordered, many at once, each delivered at most once.

A `Link` is one connection over a local stream socket. Both ends are alike: each may ask (`request`, answered once) and
tell (`post`, not answered). Nothing is made per message but its frame: no task, future or timer; the frames of one loop
round leave in one send.

    frame     u32 bytes of payload, u8 kind, u32 number (0: nobody waits for a reply), payload
    payload   of HELLO, the first frame each way: u16 version, i32 number of the process; of others what their kind says

A link that broke stays broken. What was sent over it and not answered ends with `LinkLost`: whether the other process
did it is unknown, so it is never sent again. `host.cluster.peer` makes a new link to a process that came back.

Invariants:
- `done` of a request runs exactly once: with the reply or a `LinkError`. It may run before `request` returns.
- Requests and posts reach the other end's handlers in the order they were made; replies come in any order.
- What waits is bounded: bytes not yet taken by the other process, requests not answered, bytes of one frame. Over the
  bound a request is refused (`LinkRefused`: it was never sent). A reply cannot be refused: a process that takes none
  of them loses the link.
- Handlers run on the loop and return soon; one that raises fails its own request only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from typing import cast

from host.model.limits import MiB
from host.telemetry import log

VERSION = 1
"""Of the frames and of all payloads. Processes of different versions refuse each other."""

CONTROL = -1
"""The number of the control process; workers count from 0."""

VISITOR = -2
"""One that only asks who is there: nothing is posted to it."""

FRAME_BYTES_MAX = 80 * MiB
UNREAD_BYTES_MAX = 128 * MiB
UNANSWERED_MAX = 100_000

HELLO, REPLY, FAULT = 0, 1, 2
KIND_FIRST, KIND_LAST = 16, 255
"""Kinds that users of a link may choose: `host.cluster.kinds` lists them all."""

_HEADER = Struct(">IBI")
_HELLO = Struct(">Hi")
_NUMBER_LAST = 0xFFFF_FFFF

_log = log.get("cluster.link")


class LinkError(Exception):
    """A request got no reply. The text says what happened between the two processes; it is not for tenants."""


class LinkLost(LinkError):
    """The link broke before the reply: whether the request was done is unknown."""


class LinkRefused(LinkError):
    """The request was never sent, so it was not done."""


class LinkFault(LinkError):
    """The other process has no handler for the request, or its handler failed."""


Done = Callable[[bytes | LinkError], None]
Reply = Callable[[bytes], None]
Handler = Callable[["Link", bytes, Reply], None]
"""(link, payload, reply): `reply` is called at most once, at any time; for a post it does nothing."""

Handlers = Mapping[int, Handler]


class Link(asyncio.Protocol):
    """One connection. `me` is this process's number, `peer` the other's once `on_open` has been called.

    `on_open(link)` is called when the other end has said hello; `on_lost(link)` once, if `on_open` was, when the link
    is lost or closed, before the unanswered requests fail.
    """

    def __init__(
        self,
        me: int,
        handlers: Handlers,
        on_open: Callable[[Link], None],
        on_lost: Callable[[Link], None],
    ) -> None:
        self.peer: int | None = None
        self._me = me
        self._handlers = handlers
        self._on_open, self._on_lost = on_open, on_lost
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._requests: dict[int, Done] = {}
        self._last = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._in: list[bytes] = []
        self._in_bytes = 0
        self._in_wanted = 0
        self._retiring = False
        self._why_lost = "the other process is gone"

    @property
    def open(self) -> bool:
        """Both ends have said hello, and the link is neither lost nor about to be."""
        return self.peer is not None and self._transport is not None and not self._transport.is_closing()

    @property
    def unanswered(self) -> int:
        """Requests sent over this link whose reply has not come."""
        return len(self._requests)

    # --- sending ------------------------------------------------------------------------------------------------------

    def request(self, kind: int, payload: bytes, done: Done) -> None:
        """Ask the other process; `done` gets the reply's payload, or a LinkError."""
        refusal = self._refusal(payload)
        if refusal is None and len(self._requests) >= UNANSWERED_MAX:
            refusal = f"{UNANSWERED_MAX} requests wait for replies already"
        if refusal is not None:
            done(LinkRefused(refusal))
            return
        requests = self._requests
        number = self._last % _NUMBER_LAST + 1
        while number in requests:  # only after 2^32 requests on one link
            number = number % _NUMBER_LAST + 1
        self._last = number
        requests[number] = done
        self._send(kind, number, payload)

    def post(self, kind: int, payload: bytes) -> None:
        """Tell the other process. Raises LinkRefused."""
        refusal = self._refusal(payload)
        if refusal is not None:
            raise LinkRefused(refusal)
        self._send(kind, 0, payload)

    def close(self, why: str = "it was closed on this side") -> None:
        """Send what waits, then end the link. Unanswered requests fail with LinkLost when it is done."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._why_lost = why
            self._flush()
            transport.close()

    def retire(self) -> None:
        """Ask nothing more over this link, and close it when the last reply is there."""
        if self._requests:
            self._retiring = True
        else:
            self.close()

    def _refusal(self, payload: bytes) -> str | None:
        transport = self._transport
        if transport is None or not self.open:
            return "the link is not open"
        if len(payload) > FRAME_BYTES_MAX:
            return f"a message has {FRAME_BYTES_MAX} bytes at most, this one {len(payload)}"
        if self._out_bytes + transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            return f"process {self.peer} does not read: {UNREAD_BYTES_MAX} bytes wait for it already"
        return None

    def _send(self, kind: int, number: int, payload: bytes) -> None:
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(_HEADER.pack(len(payload), kind, number))
        out.append(payload)
        self._out_bytes += _HEADER.size + len(payload)

    def _flush(self) -> None:
        out, transport = self._out, self._transport
        if not out:
            return
        if transport is not None:
            transport.write(b"".join(out))
        out.clear()
        self._out_bytes = 0

    def _reply(self, number: int, payload: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(payload) > FRAME_BYTES_MAX:
            _log.error("reply_too_large", peer=self.peer, bytes=len(payload))
            self._send(FAULT, number, b"the reply is too large to be sent")
        elif self._out_bytes + transport.get_write_buffer_size() > 2 * UNREAD_BYTES_MAX:
            self._fail("the other process does not read its replies")
        else:
            self._send(REPLY, number, payload)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._in:
            self._in.append(data)
            self._in_bytes += len(data)
            if self._in_bytes < self._in_wanted:
                return
            data = b"".join(self._in)
            self._in.clear()
        at, end, wanted = 0, len(data), _HEADER.size
        while end - at >= _HEADER.size:
            size, kind, number = _HEADER.unpack_from(data, at)
            if size > FRAME_BYTES_MAX:
                self._fail(f"a frame of {size} bytes came, {FRAME_BYTES_MAX} is the most")
                return
            wanted = _HEADER.size + size
            if end - at < wanted:
                break
            payload = data[at + _HEADER.size : at + wanted]
            at += wanted
            wanted = _HEADER.size
            self._received(kind, number, payload)
            if self._transport is None or self._transport.is_closing():
                return
        if at < end:
            self._in.append(data[at:] if at else data)
            self._in_bytes, self._in_wanted = end - at, wanted

    def _received(self, kind: int, number: int, payload: bytes) -> None:
        if self.peer is None:
            self._greeted(kind, payload)
        elif kind >= KIND_FIRST:
            self._handle(kind, number, payload)
        elif kind in (REPLY, FAULT):
            done = self._requests.pop(number, None)
            if done is None:
                _log.error("reply_to_nothing", peer=self.peer, number=number)
                return
            self._run(done, payload if kind == REPLY else LinkFault(payload.decode(errors="replace")))
            if self._retiring and not self._requests:
                self.close()
        else:
            self._fail(f"a frame of kind {kind} came")

    def _greeted(self, kind: int, payload: bytes) -> None:
        if kind != HELLO or len(payload) != _HELLO.size:
            self._fail("the first frame is no hello")
            return
        version, peer = _HELLO.unpack(payload)
        if version != VERSION:
            self._fail(f"process {peer} speaks version {version} of the link, this one {VERSION}: restart the host")
            return
        self.peer = peer
        self._on_open(self)

    def _handle(self, kind: int, number: int, payload: bytes) -> None:
        handler = self._handlers.get(kind)
        try:
            if handler is None:
                raise LookupError(f"no handler for messages of kind {kind}")
            handler(self, payload, partial(self._reply, number) if number else _no_reply)
        except Exception as error:
            _log.exception("handler_failed", error, peer=self.peer, kind=kind)
            if number:
                self._send(FAULT, number, b"the other process could not do it: see its log")

    def _run(self, done: Done, outcome: bytes | LinkError) -> None:
        try:
            done(outcome)
        except Exception as error:
            _log.exception("reply_not_taken", error, peer=self.peer)

    # --- the connection's life ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send(HELLO, 0, _HELLO.pack(VERSION, self._me))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._out.clear()
        self._out_bytes = 0
        self._in.clear()
        if self.peer is not None:
            self._on_lost(self)
        requests, self._requests = self._requests, {}
        for done in requests.values():
            self._run(done, LinkLost(self._why_lost))

    def _fail(self, why: str) -> None:
        """The other end broke the contract: nothing more from it is believed."""
        _log.error("link_broken", peer=self.peer, why=why)
        self._why_lost = why
        if self._transport is not None:
            self._transport.abort()


def _no_reply(_payload: bytes) -> None:
    """Nobody waits for a reply to a post."""
