"""Spans to an OpenTelemetry collector, as OTLP over HTTP.

It belongs to the control process: workers hand it finished spans (`batch`), and only this process talks to the
collector. Nothing waits for that: spans queue up, the newest are dropped when the queue is full, and a thread sends
what came together once a second. The exporter of the OpenTelemetry SDK does the sending; headers for the collector,
such as a token, come from OTEL_EXPORTER_OTLP_HEADERS, as it reads them.

The SDK is an extra of the package (`tenure[otel]`), imported when a collector is named and never otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from host.model.clock import Clock, TimerHandle
from host.model.errors import UsageError
from host.telemetry.batch import SpanRow
from host.telemetry.log import get

EVERY_S = 1.0
QUEUE_MAX = 20_000
TIMEOUT_S = 5
NOT_INSTALLED = "Traces need OpenTelemetry: pip install 'tenure[otel]', or leave out --otlp-endpoint."

_log = get("telemetry.otlp")


class Exporter:
    """To the collector at the base URL `endpoint`. Raises UsageError when the SDK is not installed."""

    def __init__(self, endpoint: str, version: str, clock: Clock) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            from host.telemetry.spans import Spans
        except ImportError:
            raise UsageError(NOT_INSTALLED) from None
        # what the SDK has to say is said here, in the host's own form
        logging.getLogger(OTLPSpanExporter.__module__).disabled = True
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
        self._spans = Spans(version)
        self._clock = clock
        self._queue: list[SpanRow] = []
        self._thread = ThreadPoolExecutor(1, "otlp")
        self._timer: TimerHandle | None = None
        self._sending: asyncio.Future[bool] | None = None
        self._failing = self._closing = False
        self.exported = 0
        self.dropped = 0

    def offer(self, spans: Sequence[SpanRow]) -> None:
        """Send them soon, or drop them. Never blocks."""
        room = max(QUEUE_MAX - len(self._queue), 0)
        self._queue += spans[:room]
        self.dropped += max(len(spans) - room, 0)
        if self._timer is None and self._sending is None:
            self._timer = self._clock.call_later(EVERY_S, self._send)

    async def close(self) -> None:
        """Try to send what is left, once."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._queue:
            self._send()
            if self._sending is not None:
                await asyncio.wait([self._sending])
        await asyncio.to_thread(self._thread.shutdown)

    def _send(self) -> None:
        self._timer = None
        rows, self._queue = self._queue, []
        sending = asyncio.get_running_loop().run_in_executor(self._thread, self._export, rows)
        self._sending = sending
        sending.add_done_callback(lambda done: self._sent(done, len(rows)))

    def _export(self, rows: list[SpanRow]) -> bool:
        """In the thread. Whether the collector took them."""
        result: Any = self._exporter.export(self._spans.of(rows))
        return bool(result.value == 0)

    def _sent(self, done: asyncio.Future[bool], count: int) -> None:
        self._sending = None
        taken = not done.cancelled() and done.exception() is None and done.result()
        if taken:
            self.exported += count
        else:
            self.dropped += count
        if taken == self._failing:  # said when it begins and when it ends, not each second
            self._failing = not taken
            (_log.info if taken else _log.warn)("collector_takes_spans" if taken else "collector_refuses_spans")
        if self._queue and not self._closing:
            self._timer = self._clock.call_later(EVERY_S, self._send)
