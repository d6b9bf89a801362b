"""The workers as the control process talks to them: each follows what serves, and any may be asked.

A worker that joins gets a snapshot first, then every change in the order made. A change is done when all workers that
are there follow it; one that has not said so within `APPLY_S` is reported to `on_silent`, which ends it: nobody waits
for it any longer, and what comes in its place gets a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from host.cluster.kinds import Kind
from host.cluster.link import LinkError
from host.model.errors import Unavailable
from host.registry import feed
from host.registry.serving import Change
from host.supervisor.asking import NO_ANSWER, Way, ask, request
from host.telemetry import log

APPLY_S = 5.0

_log = log.get("supervisor.staff")


class Staff:
    """`changes()` is all that serves. Everything runs on the loop."""

    def __init__(self, changes: Callable[[], list[Change]]) -> None:
        self._changes = changes
        self.on_silent: Callable[[Way], None] = lambda way: None
        self._following: dict[Way, None] = {}
        self._serving: dict[int, Way] = {}

    @property
    def slots(self) -> list[int]:
        """Those that can be asked."""
        return sorted(self._serving)

    async def join(self, way: Way) -> None:
        """A worker is there. When this returns it serves what all others do. Raises LinkError when it is gone."""
        self._following[way] = None
        await request(way, Kind.SNAPSHOT, feed.encode(self._changes()))

    def serves(self, slot: int, way: Way) -> None:
        """It is the one to ask for what this slot knows, in place of any other."""
        self._serving[slot] = way

    def leave(self, way: Way) -> None:
        self._following.pop(way, None)
        self._serving = {slot: other for slot, other in self._serving.items() if other is not way}

    def spread(self, change: Change) -> asyncio.Future[None]:
        """See `registry.ports.Spread`."""
        payload = feed.encode([change])
        replies = {way: request(way, Kind.SERVE, payload) for way in self._following}
        return asyncio.ensure_future(self._followed(replies))

    async def _followed(self, replies: dict[Way, asyncio.Future[bytes]]) -> None:
        if not replies:
            return
        await asyncio.wait(replies.values(), timeout=APPLY_S)
        for way, reply in replies.items():
            if not reply.done():
                reply.cancel()
                _log.error("worker_silent", seconds=APPLY_S)
                self.on_silent(way)
            elif isinstance(error := reply.exception(), LinkError):  # it is gone: the next one gets a snapshot
                _log.warn("change_not_followed", error=error)

    async def ask(self, slot: int, kind: Kind, question: Any = None) -> Any:
        """Raises TenureError; Unavailable when the worker is not there."""
        way = self._serving.get(slot)
        if way is None:
            raise Unavailable(NO_ANSWER)
        return await ask(way, kind, question)

    async def request(self, slot: int, kind: Kind, payload: bytes) -> bytes:
        """A request that is none of JSON. Raises LinkError; Unavailable when the worker is not there."""
        way = self._serving.get(slot)
        if way is None:
            raise Unavailable(NO_ANSWER)
        return await request(way, kind, payload)

    async def ask_all(self, kind: Kind, question: Any = None) -> dict[int, Any]:
        """The answers of those that are there, by slot. One that goes away meanwhile is left out."""
        slots = self.slots
        answers = await asyncio.gather(*(self.ask(slot, kind, question) for slot in slots), return_exceptions=True)
        return {slot: answer for slot, answer in zip(slots, answers, strict=True) if not isinstance(answer, Exception)}
