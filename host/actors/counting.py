"""Counts what the actors of a shard hold when it is opened, a part at a time, between the turns of guests.

An actor that a commit changes meanwhile lies either behind the place where counting has come, then its growth is added,
or before it, then it will be found as it is. So the sum is exact when the end is reached. Nothing is written, and after
a crash it begins anew.
"""

from __future__ import annotations

from collections.abc import Callable

from host.model.clock import Clock, TimerHandle
from host.model.ids import ActorId
from host.quotas.stored import Stored
from host.storage.keys import ACTORS, actor_key, actors_type
from host.storage.ports import Engine
from host.storage.records import decode_actor_record
from host.telemetry import log

PART = 400
"""Actors, which take about a millisecond."""
PAUSE_S = 0.003
RETRY_S = 1.0

_log = log.get("actors.counting")


class Counting:
    """Of one shard. `done` is called once, possibly before `start` returns."""

    def __init__(self, engine: Engine, stored: Stored, clock: Clock, done: Callable[[], None]) -> None:
        self._engine = engine
        self._stored = stored
        self._clock = clock
        self._done = done
        self._at, self._end = ACTORS
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        self._stored.begin()
        self._part()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def counted(self, actor: ActorId) -> bool:
        """Counting has come past this actor."""
        return actor_key(actor) < self._at

    def _part(self) -> None:
        self._timer = None
        try:
            found = self._engine.scan(self._at, self._end, limit=PART)
            sizes = [(*actors_type(key), decode_actor_record(value).bytes_used) for key, value in found]
        except (OSError, ValueError) as error:
            _log.error("actors_not_counted", error=error)
            self._timer = self._clock.call_later(RETRY_S, self._part)
            return
        for tenant, actor_type, size in sizes:
            self._stored.found(tenant, actor_type, size)
        if len(found) < PART:
            self._at = self._end
            self._stored.end()
            self._done()
            return
        self._at = found[-1][0] + b"\x00"
        self._timer = self._clock.call_later(PAUSE_S, self._part)
