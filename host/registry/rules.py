"""The rules by which versions are removed, and what it means for the records that some are.

A function has the rule that was set for it, or that of the host; a host has none unless its operator gave it one, so
that nothing goes by itself which nobody asked for. `upkeep` applies the rules; a prune by hand names its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from host.model.clock import Clock
from host.model.keep import Keep
from host.registry import store
from host.registry.catalog import Catalog
from host.registry.changes import Changes
from host.registry.pruning import Pruned, prune
from host.registry.records import FunctionRecord


def _nobody(_function_id: str) -> None:
    """Nobody applies rules."""


class Rules:
    """One per registry. `host` is the rule of functions that have none of their own, or None."""

    def __init__(self, kept: store.Store, changes: Changes, catalog: Catalog, clock: Clock, host: Keep | None) -> None:
        self.host = host
        self.on_change: Callable[[str], None] = _nobody
        """Told of a function when it has another rule."""
        self._store = kept
        self._changes = changes
        self._catalog = catalog
        self._clock = clock

    def of(self, function: FunctionRecord) -> Keep | None:
        """By which its versions go by themselves; None: by none."""
        return function.keep or self.host

    async def change(self, tenant: str, ref: str, keep: Keep | None) -> FunctionRecord:
        """Give a function a rule of its own; None: it has that of the host again. Raises NotFound, Unavailable,
        StorageBroken.
        """

        async def change() -> FunctionRecord:
            function = replace(self._catalog.function(tenant, ref), keep=keep)
            await self._store.commit([store.put_function(function)])
            self._catalog.put_function(function)
            return function

        function = await self._changes.run(change())
        self.on_change(function.id)
        return function

    async def prune(
        self, tenant: str, ref: str, keep: Keep | None = None, *, dry_run: bool = False
    ) -> tuple[Pruned, tuple[str, ...]]:
        """Remove versions by `keep`, or by the function's rule: (what went, or with `dry_run` would go; the digests
        that nobody uses any more). Raises NotFound.
        """

        async def change() -> tuple[Pruned, tuple[str, ...]]:
            function = self._catalog.function(tenant, ref)
            pruned = self.due(function, keep)
            if dry_run or not pruned.gone:
                return pruned, ()
            await self._store.commit([store.drop_version(tenant, version) for version in pruned.gone])
            return pruned, self._catalog.drop_versions(pruned.gone)

        return await self._changes.run(change())

    def due(self, function: FunctionRecord, keep: Keep | None = None) -> Pruned:
        """What would go now by `keep`, or by the function's rule; without either nothing."""
        rule = keep or self.of(function)
        if rule is None:
            return Pruned((), (), 0)
        versions, now_ms = self._catalog.versions(function.id), self._clock.now()
        return prune(function, versions, rule, now_ms, self._catalog.uses, by_itself=keep is None)
