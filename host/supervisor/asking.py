"""Questions between the control process and its workers, over a link or, within one process, without one.

A question is a kind and a JSON value; so is its answer. A TenureError that the answering side raises is raised again
where it was asked, if it is one of `_KNOWN`; what else goes wrong there is in its own log and `Unavailable` here.

Shape of an answer: [value], or [null, name of the error, detail].
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from host.cluster.link import Done, Handler, Handlers, Link, LinkError, LinkFault, LinkLost, LinkRefused, Reply
from host.model.errors import Conflict, NotFound, StorageBroken, TenureError, Unavailable, UsageError
from host.telemetry import log

Answering = Callable[[Any], Awaitable[Any]]
"""Takes the question's value; what it returns must be JSON-able. Raises TenureError for the one who asks."""

NO_ANSWER = "A worker process of the host did not answer. Try again in a moment."
FAILED = "A worker process of the host could not do it: its log says why."

_KNOWN: dict[str, type[TenureError]] = {
    kind.__name__: kind for kind in (Conflict, NotFound, StorageBroken, Unavailable, UsageError)
}

_log = log.get("supervisor.asking")


class Way(Protocol):
    """`cluster.link.Link`, `cluster.peer.Peer`, or `Direct`."""

    def request(self, kind: int, payload: bytes, done: Done) -> None: ...
    def post(self, kind: int, payload: bytes) -> None: ...


class Direct:
    """The way to handlers in this very process. It never breaks."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def request(self, kind: int, payload: bytes, done: Done) -> None:
        try:
            self._handlers[kind](_NO_LINK, payload, done)
        except Exception as error:
            _log.exception("handler_failed", error, kind=kind)
            done(LinkFault("its handler failed"))

    def post(self, kind: int, payload: bytes) -> None:
        self._handlers[kind](_NO_LINK, payload, lambda _reply: None)


_NO_LINK: Any = None


def request(way: Way, kind: int, payload: bytes) -> asyncio.Future[bytes]:
    """The reply to a request as a future, which fails with LinkError."""
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(outcome: bytes | LinkError) -> None:
        if reply.done():
            return  # nobody waits any more
        if isinstance(outcome, bytes):
            reply.set_result(outcome)
        else:
            reply.set_exception(outcome)

    way.request(kind, payload, done)
    return reply


async def ask(way: Way, kind: int, question: Any = None) -> Any:
    """Raises TenureError: what the other side said, or Unavailable."""
    try:
        answer = json.loads(await request(way, kind, json.dumps(question).encode()))
    except (LinkLost, LinkRefused, LinkFault) as error:
        _log.warn("not_answered", kind=kind, error=error)
        raise Unavailable(NO_ANSWER) from error
    if len(answer) == 1:
        return answer[0]
    raise _KNOWN[answer[1]](answer[2])


class Desk:
    """Answers questions in tasks, which end with it."""

    def __init__(self, answering: Mapping[int, Answering]) -> None:
        self.handlers: dict[int, Handler] = {kind: partial(self._take, one) for kind, one in answering.items()}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, answering: Answering, _link: Link, payload: bytes, reply: Reply) -> None:
        task = asyncio.get_running_loop().create_task(_answer(answering, payload, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _answer(answering: Answering, payload: bytes, reply: Reply) -> None:
    try:
        answer = [await answering(json.loads(payload))]
    except tuple(_KNOWN.values()) as error:
        answer = [None, type(error).__name__, error.detail]
    except Exception as error:
        _log.exception("question_failed", error)
        answer = [None, Unavailable.__name__, FAILED]
    reply(json.dumps(answer).encode())
