"""Fetches that another process makes: how a worker asks for them, and how the egress process answers.

A worker has no way to the outside. What a guest asks for goes over a link to the egress process, which resolves the
name, checks the address and connects (`bindings.fetching`), and knows nothing of the host but that. So a guest that
took its worker over could choose which public hosts it asks for, but reaches no private address even then.

What comes from a worker is not taken on trust: sizes, times and numbers are bounded here as well.

Shape of a request: u32 bytes of head; head, JSON [number, method, url, allow, redirect, seconds, body_bytes_max,
binary, bytes of headers]; headers; body. Of a reply: the same with the head [status, binary, bytes of headers], or
[text] for why there is none. Of a cancellation: the number as u64.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from functools import partial
from struct import Struct
from typing import Any

from host.bindings.outbound import AT_ONCE_MAX
from host.bindings.ports import Ask, Fetching, Refused
from host.cluster.kinds import Kind
from host.cluster.link import Handlers, Link, LinkError, LinkLost, Reply
from host.cluster.peer import Peer
from host.model.limits import MiB
from host.model.message import HttpRequest, HttpResponse
from host.telemetry import log

EGRESS = -3
"""The number of the egress process on a link."""

SILENT_S = 5.0
"""How long after its time a fetch is still waited for: the egress process ends it itself, unless it is stuck."""

SECONDS_MAX, BODY_BYTES_MAX = 600.0, 64 * MiB

_SIZE = Struct(">I")
_NUMBER = Struct(">Q")

_log = log.get("egress")


class RemoteFetcher:
    """`bindings.ports.Fetching` over a link; `peer` is the way to the egress process, and closed with this."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._numbers = itertools.count(1)

    def start(self) -> None:
        self._peer.start()

    async def fetch(self, ask: Ask) -> HttpResponse:
        """Raises Refused."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._peer.request(Kind.FETCH, _encode_ask(number, ask), partial(_settle, answer))
        try:
            async with asyncio.timeout(ask.seconds + SILENT_S):
                head, headers, body = _decode(await answer)
        except TimeoutError:
            self._cancel(number)
            raise Refused(f"it took longer than {ask.seconds:g} s") from None
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        except LinkLost:
            raise Refused("the connection failed") from None
        except LinkError as error:
            _log.error("not_fetched", why=error)
            raise Refused("the host could not make it") from None
        if len(head) == 1:
            raise Refused(head[0])
        return HttpResponse(head[0], headers, body, head[1])

    def _cancel(self, number: int) -> None:
        link = self._peer.link
        if link is not None and link.open:
            link.post(Kind.FETCH_CANCEL, _NUMBER.pack(number))

    async def close(self) -> None:
        await self._peer.close()


class Egress:
    """The other end: makes the fetches that come over links, with `fetcher`. Everything runs on the loop."""

    def __init__(self, fetcher: Fetching) -> None:
        self._fetcher = fetcher
        self._tasks: dict[tuple[Link, int], asyncio.Task[None]] = {}
        self._of_link: Counter[Link] = Counter()
        self.handlers: Handlers = {Kind.FETCH: self._fetch, Kind.FETCH_CANCEL: self._cancelled}

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def lost(self, link: Link) -> None:
        """Who asked over it waits no longer."""
        for (asked_over, _), task in list(self._tasks.items()):
            if asked_over is link:
                task.cancel()

    async def retire(self, links: Iterable[Link], seconds: float) -> None:
        """Close each link when nothing is under way for it any more, or after so long."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        left = set(links)
        while left and clock() < end:
            for link in [link for link in left if not self._of_link[link]]:
                link.close()
                left.discard(link)
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=end - clock(), return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()

    def _fetch(self, link: Link, payload: bytes, reply: Reply) -> None:
        number, ask = _decode_ask(payload)
        if self._of_link[link] >= AT_ONCE_MAX or (link, number) in self._tasks:
            reply(_encode(["too many fetches are under way: try again when some have ended"]))
            return
        task = asyncio.get_running_loop().create_task(self._answer(ask, reply))
        self._tasks[link, number] = task
        self._of_link[link] += 1
        task.add_done_callback(partial(self._ended, link, number))

    def _ended(self, link: Link, number: int, _task: asyncio.Task[None]) -> None:
        del self._tasks[link, number]
        self._of_link[link] -= 1
        if not self._of_link[link]:
            del self._of_link[link]

    async def _answer(self, ask: Ask, reply: Reply) -> None:
        try:
            response = await self._fetcher.fetch(ask)
        except Refused as refused:
            reply(_encode([str(refused)]))
        except Exception as error:
            _log.exception("fetch_failed", error)
            reply(_encode(["the host could not make it"]))
        else:
            head = [response.status, response.binary, len(response.headers)]
            reply(_encode(head, response.headers, response.body))

    def _cancelled(self, link: Link, payload: bytes, _reply: Reply) -> None:
        task = self._tasks.get((link, *_NUMBER.unpack(payload)))
        if task is not None:
            task.cancel()


def _settle(answer: asyncio.Future[bytes], outcome: bytes | LinkError) -> None:
    if answer.done():
        return  # nobody waits any more
    if isinstance(outcome, bytes):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)


def _encode(head: list[Any], *blobs: bytes) -> bytes:
    text = json.dumps(head).encode()
    return b"".join((_SIZE.pack(len(text)), text, *blobs))


def _decode(payload: bytes) -> tuple[list[Any], bytes, bytes]:
    """The head, whose last field says how many bytes the headers have; the headers; the body."""
    start = _SIZE.size + _SIZE.unpack_from(payload)[0]
    head = json.loads(payload[_SIZE.size : start])
    if len(head) == 1:
        return head, b"", b""
    return head, payload[start : start + head[-1]], payload[start + head[-1] :]


def _encode_ask(number: int, ask: Ask) -> bytes:
    request = ask.request
    limits = (ask.redirect, ask.seconds, ask.body_bytes_max)
    head = [number, request.method, request.url, ask.allow, *limits, request.binary, len(request.headers)]
    return _encode(head, request.headers, request.body)


def _decode_ask(payload: bytes) -> tuple[int, Ask]:
    head, headers, body = _decode(payload)
    number, method, url, allow, redirect, seconds, bytes_max, binary, _ = head
    request = HttpRequest(method, url, headers, body, binary)
    return number, Ask(request, tuple(allow), redirect, min(seconds, SECONDS_MAX), min(bytes_max, BODY_BYTES_MAX))
