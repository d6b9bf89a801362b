"""How a change to the registry is made: one after the other, each to its end.

Changes are rare, and each is a check, a write and a wait for the disk. Under one lock none of them sees another half
done; and since a change goes on when its caller goes away, memory and disk cannot come apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Changes:
    """One for all of a registry's parts."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` after the changes before it, to its end even when the caller is cancelled meanwhile."""

        async def in_turn() -> T:
            async with self._lock:
                return await work

        task = asyncio.ensure_future(in_turn())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: when the caller went away nobody else looks
