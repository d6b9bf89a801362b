"""Our spans as those of the OpenTelemetry SDK. Imported only by a host that exports traces."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from host.telemetry.batch import SpanRow

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class Spans:
    """`version` is that of the host."""

    def __init__(self, version: str) -> None:
        self._resource = Resource.create({"service.name": "tenure", "service.version": version})
        self._scope = InstrumentationScope("tenure", version)

    def of(self, rows: Sequence[SpanRow]) -> list[ReadableSpan]:
        return [self._span(row) for row in rows]

    def _span(self, row: SpanRow) -> ReadableSpan:
        trace_id, span_id, parent_id, name, kind, start_ns, end_ns, attributes, error = row
        return ReadableSpan(
            name,
            context=_context(trace_id, span_id),
            parent=_context(trace_id, parent_id) if parent_id else None,
            resource=self._resource,
            attributes=attributes,
            kind=_KINDS[kind],
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR, error) if error else Status(),
            start_time=start_ns,
            end_time=end_ns,
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
