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

    def __init__(
        self, changes: Callable[[], list[Change]], on_silent: Callable[[int], None] = lambda slot: None
    ) -> None:
        self._changes = changes
        self._on_silent = on_silent
        self._ways: dict[int, Way] = {}

    @property
    def slots(self) -> list[int]:
        """Workers that are there."""
        return sorted(self._ways)

    async def join(self, slot: int, way: Way) -> None:
        """A worker is there. When this returns it serves what all others do. Raises LinkError when it is gone."""
        self._ways[slot] = way
        await request(way, Kind.SNAPSHOT, feed.encode(self._changes()))

    def leave(self, slot: int, way: Way) -> None:
        """It is gone. Nothing happens when another one has its place already."""
        if self._ways.get(slot) is way:
            del self._ways[slot]

    def spread(self, change: Change) -> asyncio.Future[None]:
        """See `registry.ports.Spread`."""
        payload = feed.encode([change])
        replies = {slot: request(way, Kind.SERVE, payload) for slot, way in self._ways.items()}
        return asyncio.ensure_future(self._followed(replies))

    async def _followed(self, replies: dict[int, asyncio.Future[bytes]]) -> None:
        if not replies:
            return
        await asyncio.wait(replies.values(), timeout=APPLY_S)
        for slot, reply in replies.items():
            if not reply.done():
                reply.cancel()
                _log.error("worker_silent", slot=slot, seconds=APPLY_S)
                self._on_silent(slot)
            elif isinstance(error := reply.exception(), LinkError):  # it is gone: the next one gets a snapshot
                _log.warn("change_not_followed", slot=slot, error=error)

    async def ask(self, slot: int, kind: Kind, question: Any = None) -> Any:
        """Raises TenureError; Unavailable when the worker is not there."""
        way = self._ways.get(slot)
        if way is None:
            raise Unavailable(NO_ANSWER)
        return await ask(way, kind, question)

    async def ask_all(self, kind: Kind, question: Any = None) -> dict[int, Any]:
        """The answers of those that are there, by slot. One that goes away meanwhile is left out."""
        slots = self.slots
        answers = await asyncio.gather(*(self.ask(slot, kind, question) for slot in slots), return_exceptions=True)
        return {slot: answer for slot, answer in zip(slots, answers, strict=True) if not isinstance(answer, Exception)}
