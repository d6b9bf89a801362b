"""How values are said on pages: filters of the templates, which escape what a guest or a tenant wrote."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from host.model.clock import Clock

PREVIEW_CHARS_MAX = 240
NOTHING = "\N{EN DASH}"
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_UNITS = ((31_557_600, "year"), (2_629_800, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


class Words:
    """`install` makes the filters known to a Jinja environment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def install(self, filters: dict[str, Any]) -> None:
        plain = (number, amount, size, ms, duration, value, preview, name, count)
        filters.update({each.__name__: each for each in plain}, ago=self.ago)

    def ago(self, moment: str | None, never: str = "never") -> Markup | str:
        """An ISO 8601 time as `3 minutes ago` or `in 2 hours`, with the exact one beside it."""
        if moment is None:
            return never
        seconds = self._clock.now() / 1000 - datetime.fromisoformat(moment).timestamp()
        exact = moment.replace("T", " ").replace("Z", " UTC")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(moment, exact, relative(seconds))


def relative(seconds: float) -> str:
    """`seconds` ago, or ahead if they are negative."""
    distance = abs(seconds)
    if distance < 10:
        return "just now" if seconds >= 0 else "now"
    return f"{duration(distance)} ago" if seconds > 0 else f"in {duration(distance)}"


def duration(seconds: float) -> str:
    length, unit = next(((length, unit) for length, unit in _UNITS if seconds >= length), (1, "second"))
    return count(int(seconds // length), unit)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def amount(value: float | None) -> str:
    """What may be a part of one: whole numbers as they are, others with two digits or so."""
    if value is None:
        return NOTHING
    if 0 < value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.2f}"


def ms(value: float | None) -> str:
    """Milliseconds, or seconds when there are many, with three digits or so."""
    if value is None:
        return NOTHING
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def size(octets: float | None) -> str:
    if octets is None:
        return NOTHING
    for unit in ("bytes", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:,.0f} {unit}" if unit == "bytes" else f"{octets:,.1f} {unit}"
        octets /= 1024
    return f"{octets:,.1f} GiB"


def value(stored: Any, indent: int | None = 2) -> str:
    """A wire value as JSON. A half of a surrogate pair, which no page can hold, stays an escape."""
    text = json.dumps(stored, ensure_ascii=False, indent=indent)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def preview(entry: dict[str, Any]) -> str:
    """A key's value in a line: its beginning, if it is long. What is no JSON is shown as it is."""
    text = str(entry["text"]) if "text" in entry else value(entry.get("value"), indent=None)
    text = _SURROGATE.sub("\ufffd", text)
    return text if len(text) <= PREVIEW_CHARS_MAX else f"{text[:PREVIEW_CHARS_MAX]}…"


def name(text: str) -> Markup:
    """A name that may be any text: what cannot be seen in it is shown as an escape, so that no two names look alike."""
    shown, done = [], 0
    for found in _UNSEEN.finditer(text):
        shown += [
            escape(text[done : found.start()]),
            Markup('<span class="unseen">{}</span>').format(f"\\u{ord(found[0]):04x}"),
        ]
        done = found.end()
    return Markup("").join([*shown, escape(text[done:])])
