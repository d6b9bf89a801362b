"""Where the marks of a chart are. Templates draw them as SVG, style sheets colour them; no browser computes anything.

A plot is `WIDTH` by `HEIGHT` units, whatever size it is shown at: it is stretched, and lines keep their width. So all
text of a chart is beside the plot, not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

WIDTH, HEIGHT = 600.0, 100.0
MINUTE_MS = 60_000
_GAP = 0.2
"""Of a bar's place."""


class Minute(NamedTuple):
    """How a function went in one minute; times in milliseconds, None without an invocation."""

    start_ms: int
    requests: int = 0
    errors: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Bar(NamedTuple):
    x: float
    y: float
    width: float
    height: float


class Hit(NamedTuple):
    """The place of one minute, from top to bottom, and what is said of it."""

    x: float
    width: float
    text: str


class Line(NamedTuple):
    name: str
    path: str


class Chart(NamedTuple):
    """`top` is the value at the upper edge; `starts` are the first, the middle and the last minute (ISO 8601)."""

    title: str
    kind: str
    top: float
    unit: str
    bars: Sequence[Bar]
    lines: Sequence[Line]
    hits: Sequence[Hit]
    starts: Sequence[str]
    summary: str


def minutes_of(series: Iterable[Mapping[str, Any]], minutes: int, now_ms: float) -> list[Minute]:
    """The last so many minutes, the running one included, from the admin API's `series`, which has no empty ones."""
    found = {_start_ms(one["time"]): one for one in series}
    last = int(now_ms // MINUTE_MS) * MINUTE_MS
    starts = range(last - (minutes - 1) * MINUTE_MS, last + 1, MINUTE_MS)
    return [_minute(start, found[start]) if start in found else Minute(start) for start in starts]


def requests_chart(minutes: Sequence[Minute]) -> Chart:
    values = [one.requests for one in minutes]
    texts = [f"{_clock(one)}: {one.requests:,} requests" for one in minutes]
    return _bars("Requests", "requests", values, texts, minutes)


def errors_chart(minutes: Sequence[Minute]) -> Chart:
    values = [one.errors for one in minutes]
    texts = [f"{_clock(one)}: {one.errors:,} errors of {one.requests:,} requests" for one in minutes]
    return _bars("Errors", "errors", values, texts, minutes)


def latency_chart(minutes: Sequence[Minute]) -> Chart:
    """Lines are broken where there was no invocation."""
    known = [one for one in minutes if one.p99 is not None]
    top = ceiling(max((one.p99 or 0.0 for one in known), default=0.0))
    lines = [Line(name, _path([getattr(one, name) for one in minutes], top)) for name in ("p99", "p95", "p50")]
    texts = [
        f"{_clock(one)}: "
        + ("no requests" if one.p99 is None else f"p50 {one.p50} ms, p95 {one.p95} ms, p99 {one.p99} ms")
        for one in minutes
    ]
    worst = max(known, key=lambda one: one.p99 or 0.0, default=None)
    summary = (
        "No requests." if worst is None else f"The slowest minute was {_clock(worst)} with a p99 of {worst.p99} ms."
    )
    return Chart("Latency", "latency", top, "ms", (), lines, _hits(texts), _ends(minutes), summary)


def ceiling(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50 ... that is not below the value."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def _bars(title: str, kind: str, values: Sequence[int], texts: Sequence[str], minutes: Sequence[Minute]) -> Chart:
    top, place = ceiling(max(values, default=0)), WIDTH / max(len(values), 1)
    bars = [
        Bar(
            _round((index + _GAP / 2) * place),
            _round(HEIGHT * (1 - value / top)),
            _round(place * (1 - _GAP)),
            _round(HEIGHT * value / top),
        )
        for index, value in enumerate(values)
        if value
    ]
    total, most = sum(values), max(values, default=0)
    summary = f"{total:,} {kind} in {len(values)} minutes, at most {most:,} in one."
    return Chart(title, kind, top, "", bars, (), _hits(texts), _ends(minutes), summary)


def _path(values: Sequence[float | None], top: float) -> str:
    """A minute alone between empty ones is a short level line, which could not be seen as a point."""
    place, parts, pen_down = WIDTH / max(len(values), 1), [], False
    for index, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        y = _round(HEIGHT * (1 - value / top))
        after = values[index + 1] if index + 1 < len(values) else None
        if not pen_down and after is None:
            parts.append(f"M{_round(index * place)} {y}H{_round((index + 1) * place)}")
        else:
            parts.append(f"{'L' if pen_down else 'M'}{_round((index + 0.5) * place)} {y}")
        pen_down = True
    return "".join(parts)


def _hits(texts: Sequence[str]) -> list[Hit]:
    place = WIDTH / max(len(texts), 1)
    return [Hit(_round(index * place), _round(place), text) for index, text in enumerate(texts)]


def _ends(minutes: Sequence[Minute]) -> list[str]:
    shown = [minutes[0], minutes[len(minutes) // 2], minutes[-1]] if minutes else []
    return [_moment(one.start_ms).isoformat(timespec="seconds").replace("+00:00", "Z") for one in shown]


def _minute(start_ms: int, one: Mapping[str, Any]) -> Minute:
    return Minute(start_ms, one["count"], one["errors"], one["p50_ms"], one["p95_ms"], one["p99_ms"])


def _start_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _clock(minute: Minute) -> str:
    return f"{_moment(minute.start_ms):%H:%M}"


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _round(value: float) -> float:
    return round(value, 2)
