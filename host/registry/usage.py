"""What each function has used, day by day: kept for two months, over restarts, for tenants and for whoever bills them.

Workers count and hand on (`telemetry.batch`); here it is added up and, every `WRITE_S`, what changed is written and
synced. So a crash of the control process loses `WRITE_S` and what a worker holds for a tenth of a second, a worker's
its tenth. What a function used stays when the function is deleted, until its tenant is.

Invariants: in memory is today's use of all functions, and no other; a row is written whole, so a row that is written
again counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from host.model.clock import Clock, TimerHandle
from host.model.errors import StorageBroken
from host.registry.ports import Durable
from host.registry.records import FunctionRecord
from host.storage import keys
from host.storage.ports import DeleteRange, Engine, Write

WRITE_S = 2.0
DAYS_KEPT = 62
DAY_MS = 86_400_000


class Counted(Protocol):
    """`telemetry.batch.Counted`."""

    outcomes: dict[str, int]
    cpu_s: float
    bytes_in: int
    bytes_out: int
    fetches: int
    over: dict[str, int]


@dataclass(slots=True)
class Use:
    """`turns` are those of actors; `over`: how often something was refused, by quota."""

    requests: int = 0
    turns: int = 0
    cpu_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    outbound: int = 0
    over: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, counted: Counted) -> None:
        count = sum(counted.outcomes.values())
        if kind == "request":
            self.requests += count
        else:
            self.turns += count
        self.cpu_ms += counted.cpu_s * 1000
        self.bytes_in += counted.bytes_in
        self.bytes_out += counted.bytes_out
        self.outbound += counted.fetches
        self._refused(counted.over)

    def merge(self, other: Use) -> None:
        for name in ("requests", "turns", "cpu_ms", "bytes_in", "bytes_out", "outbound"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._refused(other.over)

    def _refused(self, over: dict[str, int]) -> None:
        for quota, count in over.items():
            self.over[quota] = self.over.get(quota, 0) + count

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "turns": self.turns,
            "cpu_ms": round(self.cpu_ms, 3),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "outbound": self.outbound,
            "over": dict(self.over),
        }


class Usage:
    """One per control process. `function(id)` is None for one that is gone.

    Shape of a row: JSON as `Use.to_json`.
    """

    def __init__(
        self, engine: Engine, committer: Durable, clock: Clock, function: Callable[[str], FunctionRecord | None]
    ) -> None:
        self._engine = engine
        self._committer = committer
        self._clock = clock
        self._function = function
        self._day = self._today()
        self._uses: dict[tuple[str, str], Use] = {}
        self._changed: set[tuple[str, str]] = set()
        self._timer: TimerHandle | None = None
        for key, value in engine.scan(*keys.usage_range(self._day)):
            self._uses[keys.decode_usage(key)] = _read(value)

    def add(self, function_id: str, kind: str, counted: Counted) -> None:
        """What was counted of a function since the last time."""
        function = self._function(function_id)
        if function is None:
            return
        if self._today() != self._day:
            self._next_day()
        key = function.tenant, function_id
        use = self._uses.get(key)
        if use is None:
            use = self._uses[key] = Use()
        use.add(kind, counted)
        self._changed.add(key)
        if self._timer is None:
            self._timer = self._clock.call_later(WRITE_S, self.write)

    def days(self, tenant: str, days: int, function_id: str | None = None) -> Iterator[tuple[str, Use]]:
        """(date in UTC, use of the tenant or of one function of it) of each of the last days with any, the latest
        first. Reads the disk. Raises OSError.
        """
        today = self._today()
        for day in range(today, today - days, -1):
            total, there = Use(), False
            for use in self._of_day(day, tenant, function_id):
                total.merge(use)
                there = True
            if there:
                yield datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat(), total

    def forget(self, tenant: str) -> None:
        """The tenant is deleted. What is left of it is removed with the next thing that is written."""
        for key in [key for key in self._uses if key[0] == tenant]:
            del self._uses[key]
            self._changed.discard(key)
        days = (keys.usage_range(day, tenant) for day in range(self._day - DAYS_KEPT, self._day + 1))
        with suppress(OSError):
            self._put([(key, None) for one in days for key, _ in self._engine.scan(*one)])

    def write(self) -> None:
        """Make durable what was added."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, set()
        self._put([(keys.usage_key(self._day, *key), orjson.dumps(self._uses[key].to_json())) for key in changed])

    def _put(self, writes: list[Write]) -> None:
        if writes:
            with suppress(OSError, StorageBroken):  # the committer has said so; the registry's changes will fail
                self._committer.write(writes)
                self._committer.flush()

    def _of_day(self, day: int, tenant: str, function_id: str | None) -> Iterator[Use]:
        if day == self._day:
            yield from (use for key, use in self._uses.items() if key[0] == tenant and function_id in (None, key[1]))
            return
        for key, value in self._engine.scan(*keys.usage_range(day, tenant)):
            if function_id in (None, keys.decode_usage(key)[1]):
                yield _read(value)

    def _next_day(self) -> None:
        self.write()
        self._day, self._uses = self._today(), {}
        self._put([DeleteRange(keys.USAGE[0], keys.usage_range(max(self._day - DAYS_KEPT, 0))[0])])

    def _today(self) -> int:
        return int(self._clock.now() // DAY_MS)


def _read(value: bytes) -> Use:
    """What a newer host has noted besides is ignored."""
    return Use(**{name: one for name, one in orjson.loads(value).items() if name in Use.__dataclass_fields__})
