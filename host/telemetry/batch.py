"""What a worker hands to the control process, ten times a second at most: lines, counts and spans.

Counts are what was added since the last batch, so the control process sums them, and nothing is counted twice or lost
when a worker is replaced.

Shape: a JSON object, a newline, then all lines of all functions, one after the other, with a newline between. The
object: `lines` [[function id, lines, dropped], ...], `counts` {function id: {kind: [outcomes, wall s, CPU s, bytes in,
bytes out, buckets, fetches, over]}}, `spans` [span, ...].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from host.telemetry import histogram
from host.telemetry.waiting import Lines

SpanRow = tuple[str, str, str, str, str, int, int, dict[str, Any], str]
"""Trace id, span id, parent's span id or "", name, kind (server, client, internal), start and end (ns since 1970),
attributes, and what went wrong or ""."""


class Counted:
    """Sums over invocations of one kind. `outcomes`: how many ended how; `buckets`: see `histogram`; `fetches`:
    requests to the outside; `over`: how often something was refused, by quota.
    """

    __slots__ = ("buckets", "bytes_in", "bytes_out", "cpu_s", "fetches", "outcomes", "over", "wall_s")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.buckets: dict[int, int] = {}
        self.fetches = 0
        self.over: dict[str, int] = {}

    def add(self, outcome: str, wall_s: float, cpu_s: float, bytes_in: int, bytes_out: int) -> None:
        """One invocation."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.wall_s += wall_s
        self.cpu_s += cpu_s
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        bucket = histogram.bucket_of(wall_s)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: Counted) -> None:
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.wall_s += other.wall_s
        self.cpu_s += other.cpu_s
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        histogram.add(self.buckets, other.buckets)
        self.fetches += other.fetches
        for quota, count in other.over.items():
            self.over[quota] = self.over.get(quota, 0) + count

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def to_json(self) -> list[Any]:
        buckets = [[bucket, count] for bucket, count in self.buckets.items()]
        sums = (self.wall_s, self.cpu_s, self.bytes_in, self.bytes_out)
        return [self.outcomes, *sums, buckets, self.fetches, self.over]

    @classmethod
    def from_json(cls, stored: list[Any]) -> Counted:
        one = cls()
        one.outcomes, one.wall_s, one.cpu_s, one.bytes_in, one.bytes_out, buckets, one.fetches, one.over = stored
        one.buckets = dict(buckets)
        return one


class Counts:
    """By function id and kind of work ("request", "method", "fetch", "alarm")."""

    def __init__(self) -> None:
        self._counted: dict[str, dict[str, Counted]] = {}

    def __bool__(self) -> bool:
        return bool(self._counted)

    def of(self, function_id: str, kind: str) -> Counted:
        kinds = self._counted.get(function_id)
        if kinds is None:
            kinds = self._counted[function_id] = {}
        counted = kinds.get(kind)
        if counted is None:
            counted = kinds[kind] = Counted()
        return counted

    def items(self) -> Iterator[tuple[str, str, Counted]]:
        for function_id, kinds in self._counted.items():
            for kind, counted in kinds.items():
                yield function_id, kind, counted

    def to_json(self) -> dict[str, Any]:
        return {
            function_id: {kind: counted.to_json() for kind, counted in kinds.items()}
            for function_id, kinds in self._counted.items()
        }


class Batch(NamedTuple):
    lines: list[Lines]
    counts: list[tuple[str, str, Counted]]
    spans: list[SpanRow]


def encode_batch(lines: list[Lines], counts: Counts, spans: list[SpanRow]) -> bytes:
    head = {
        "lines": [[one.function_id, len(one.lines), one.dropped] for one in lines],
        "counts": counts.to_json(),
        "spans": spans,
    }
    return b"\n".join([orjson.dumps(head), *(line for one in lines for line in one.lines)])


def decode_batch(data: bytes) -> Batch:
    """Raises ValueError, KeyError or TypeError for what `encode_batch` did not write."""
    head_text, *texts = data.split(b"\n")
    head = orjson.loads(head_text)
    lines, at = [], 0
    for function_id, count, dropped in head["lines"]:
        lines.append(Lines(function_id, texts[at : at + count], dropped))
        at += count
    if at != len(texts):
        raise ValueError("a batch with more or fewer lines than it says")
    counts = [
        (function_id, kind, Counted.from_json(counted))
        for function_id, kinds in head["counts"].items()
        for kind, counted in kinds.items()
    ]
    return Batch(lines, counts, [tuple(span) for span in head["spans"]])
