"""Old versions go by rule, without being asked: after each ship and deployment of a function, and of all once an hour.

Most are not due yet when something is deployed, because what served a moment ago stays; the hourly round removes them.
They go as in a prune by hand, with the same care (`pruning`), and each time that some go the host's log says so and the
function's own.

Invariants: one function at a time; a function without a rule is never touched; what is said to be gone is gone durably.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from host.model.clock import Clock, TimerHandle
from host.model.errors import NotFound, TenureError
from host.registry.pruning import Pruned
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.telemetry.log import get

EVERY_S = 3_600.0
NAMED_MAX = 10
"""Versions that are named one by one."""

_log = get("registry.upkeep")


class Upkeep:
    """One per control process. `say(function id, sentence)` writes to a function's log. `removed` counts versions."""

    def __init__(self, registry: Registry, publisher: Publisher, clock: Clock, say: Callable[[str, str], None]) -> None:
        self.removed = 0
        self._registry = registry
        self._publisher = publisher
        self._clock = clock
        self._say = say
        self._due: dict[str, None] = {}
        self._working: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Apply all rules now and every `EVERY_S`, and that of one function when it changes."""
        self._publisher.on_settled = self._registry.rules.on_change = self.soon
        self._round()

    def soon(self, function_id: str) -> None:
        """Apply the rule of a function."""
        self._due[function_id] = None
        if self._working is None and not self._closed:
            self._working = asyncio.create_task(self._work(), name="upkeep")

    async def idle(self) -> None:
        """Until nothing is left to do."""
        while self._working is not None:
            await asyncio.wait([self._working])

    async def close(self) -> None:
        """Stop. A removal that is under way is ended by `Publisher.close`, as one by hand."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    def _round(self) -> None:
        self._timer = self._clock.call_later(EVERY_S, self._round)
        for function_id in self._registry.function_ids():
            self.soon(function_id)

    async def _work(self) -> None:
        try:
            while self._due:
                function_id = next(iter(self._due))
                del self._due[function_id]
                await self._apply(function_id)
                await asyncio.sleep(0)
        finally:
            self._working = None

    async def _apply(self, function_id: str) -> None:
        function = self._registry.by_id(function_id)
        if function is None or not self._registry.rules.due(function).gone:
            return
        try:
            pruned = await self._publisher.prune(function.tenant, function.id)
        except NotFound:  # it was deleted meanwhile
            return
        except TenureError as error:
            _log.error("not_pruned", tenant=function.tenant, function=function.name, reason=error.detail)
            return
        except Exception as error:  # the other functions' turn comes all the same
            _log.exception("not_pruned", error, tenant=function.tenant, function=function.name)
            return
        if pruned.gone:
            self.removed += len(pruned.gone)
            named = _named(pruned)
            _log.info("versions_pruned", tenant=function.tenant, function=function.name, versions=named)
            self._say(function.id, f"removed by rule: {named}. What stays: {self._registry.rules.of(function)}")


def _named(pruned: Pruned) -> str:
    """`version 3`, `versions 3, 4`, or `40 versions from 3 to 51`."""
    numbers = [version.number for version in pruned.gone]
    if len(numbers) > NAMED_MAX:
        return f"{len(numbers)} versions from {numbers[0]} to {numbers[-1]}"
    return f"version{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
