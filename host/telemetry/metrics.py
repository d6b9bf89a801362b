"""How the invocations of each function went: in all since this process started, and minute by minute for the last hour.

It belongs to the control process, which sums what the workers count (`batch`). Percentiles are read from buckets
(`histogram`), so those of several workers or minutes are as exact as those of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from host.model.clock import Clock
from host.telemetry import histogram
from host.telemetry.batch import Counted
from host.telemetry.recorder import OK

MINUTES_KEPT = 60
_MINUTE_MS = 60_000


class _Function:
    __slots__ = ("kinds", "minutes")

    def __init__(self) -> None:
        self.kinds: dict[str, Counted] = {}
        self.minutes: dict[int, Counted] = {}


class FunctionMetrics:
    """By function id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._functions: dict[str, _Function] = {}

    def add(self, function_id: str, kind: str, counted: Counted) -> None:
        """What was counted since the last time."""
        function = self._functions.get(function_id)
        if function is None:
            function = self._functions[function_id] = _Function()
        function.kinds.setdefault(kind, Counted()).merge(counted)
        minute = int(self._clock.now() // _MINUTE_MS)
        if minute not in function.minutes:
            function.minutes[minute] = Counted()
            for old in [one for one in function.minutes if one <= minute - MINUTES_KEPT]:
                del function.minutes[old]
        function.minutes[minute].merge(counted)

    def forget(self, function_id: str) -> None:
        self._functions.pop(function_id, None)

    def totals(self) -> Iterator[tuple[str, dict[str, Counted]]]:
        """(function id, sums by kind of work) of all that were ever called."""
        for function_id, function in self._functions.items():
            yield function_id, function.kinds

    def shown(self, function_id: str, minutes: int) -> dict[str, Any]:
        """Sums over the last `minutes`, the running one included, and those of each minute in which it was called.

        `errors` are invocations that did not end well; times are milliseconds, percentiles null without any; `outbound`
        are requests to the outside, `over` counts what was refused, by quota.
        """
        function = self._functions.get(function_id) or _Function()
        first = int(self._clock.now() // _MINUTE_MS) - minutes + 1
        total = Counted()
        series = []
        for minute, counted in sorted(function.minutes.items()):
            if minute >= first:
                total.merge(counted)
                series.append({"minute_ms": minute * _MINUTE_MS, **_shown(counted)})
        sums = {"outcomes": total.outcomes, "outbound": total.fetches, "over": total.over}
        return {**_shown(total), **sums, "series": series}


def _shown(counted: Counted) -> dict[str, Any]:
    return {
        "count": counted.count,
        "errors": counted.count - counted.outcomes.get(OK, 0),
        "p50_ms": _percentile(counted, 0.50),
        "p95_ms": _percentile(counted, 0.95),
        "p99_ms": _percentile(counted, 0.99),
        "cpu_ms": round(counted.cpu_s * 1000, 3),
        "bytes_in": counted.bytes_in,
        "bytes_out": counted.bytes_out,
    }


def _percentile(counted: Counted, share: float) -> float | None:
    seconds = histogram.quantile(counted.buckets, share)
    return None if seconds is None else round(seconds * 1000, 3)
