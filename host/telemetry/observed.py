"""What the control process knows of all guests of the host: their log lines, how they went, and spans to export.

Workers hand it batches (`batch`); it keeps none of them waiting. What is of a function that is deleted is dropped, also
when a batch comes late.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

import orjson

from host.model.clock import Clock
from host.model.limits import LOG_LIMITS, LogLimits
from host.telemetry.batch import Counted, SpanRow, decode_batch
from host.telemetry.journal import Journal, notice
from host.telemetry.log import get
from host.telemetry.metrics import FunctionMetrics
from host.telemetry.refusals import Refusals

_log = get("telemetry.observed")


class SpanSink(Protocol):
    """`otlp.Exporter`. `exported` and `dropped` count spans."""

    exported: int
    dropped: int

    def offer(self, spans: Sequence[SpanRow]) -> None:
        """Takes spans. May not block."""
        ...


def _nothing(_function_id: str, _kind: str, _counted: Counted) -> None:
    """Nobody adds up what functions use."""


class Observed:
    """`functions()` are the ids of all that there are; without `spans` none are exported."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        functions: Callable[[], Collection[str]],
        spans: SpanSink | None = None,
        limits: LogLimits = LOG_LIMITS,
    ) -> None:
        self.journal = Journal(folder, clock, functions, limits)
        self.metrics = FunctionMetrics(clock)
        self.on_counted: Callable[[str, str, Counted], None] = _nothing
        """Told (function id, kind of work, counts) of what comes."""
        self._refusals = Refusals(self.journal, clock)
        self._clock = clock
        self._functions = functions
        self.spans = spans

    def take(self, payload: bytes) -> None:
        """A worker's batch."""
        try:
            lines, counts, spans = decode_batch(payload)
        except (ValueError, KeyError, TypeError) as error:
            _log.error("batch_not_read", error=error, size=len(payload))
            return
        there = self._functions()
        for function_id, texts, dropped in lines:
            if function_id in there:
                self.journal.append(function_id, texts, dropped)
        for function_id, kind, counted in counts:
            if function_id in there:
                self.metrics.add(function_id, kind, counted)
                self.on_counted(function_id, kind, counted)
                for quota, count in counted.over.items():
                    self._refusals.add(function_id, quota, count)
        if spans and self.spans is not None:
            self.spans.offer(spans)

    def say(self, function_id: str, text: str) -> None:
        """A line in the function's log that tells its tenant what the host has done."""
        if function_id in self._functions():
            self.journal.append(function_id, [orjson.dumps(notice(text, self._clock.now(), "info"))])

    def forget(self, function_id: str) -> None:
        """The function is deleted."""
        self._refusals.forget(function_id)
        self.journal.forget(function_id)
        self.metrics.forget(function_id)
