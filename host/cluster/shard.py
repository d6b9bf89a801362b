"""One shard of a host's actors: their engine, and all that works on it in the worker that serves the shard.

A shard is in one process at a time: the engine's lock sees to it.
"""

from __future__ import annotations

import asyncio

from host.actors.alarms import Alarms
from host.actors.directory import Directory
from host.actors.exports import Exports
from host.actors.ports import Refused, VersionOf, WorldOf, nothing_refused
from host.model.clock import Clock
from host.model.limits import HostLimits
from host.quotas.meter import Meters
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.commit import Committer
from host.storage.ports import Engine


class Shard:
    """`engine` is closed with the shard. `limits` are what this shard may hold of its worker's."""

    def __init__(
        self,
        number: int,
        engine: Engine,
        scheduler: Scheduler,
        library: Library,
        clock: Clock,
        limits: HostLimits,
        version_of: VersionOf,
        world: WorldOf,
        refused: Refused = nothing_refused,
        meters: Meters | None = None,
    ) -> None:
        self.number = number
        self.engine = engine
        self.committer = Committer(engine, clock)
        rooms = (engine, self.committer, scheduler, library, clock, limits)
        self.directory = Directory(*rooms, version_of, world, refused, meters)
        self.alarms = Alarms(self.directory)
        self.exports = Exports(engine, clock)
        self._scheduler = scheduler
        scheduler.round_end.append(self.committer.flush)

    def start(self) -> None:
        """Alarms fire from now on, and what is stored is being counted."""
        self.directory.count_stored()
        self.alarms.start()

    async def close(self) -> None:
        """Make durable what was done and let go of the engine. No turn may be under way: the scheduler is closed, or
        `ClusterDirectory.idle` was true and nothing was delivered since. Raises OSError when the engine cannot be
        closed.
        """
        self.alarms.close()
        self.directory.stop()
        await self.exports.close()
        await self.committer.close()
        self.directory.close()
        self._scheduler.round_end.remove(self.committer.flush)
        await asyncio.to_thread(self.engine.close)
