"""A component's source map: from a place in the one file that was built to the place in the author's sources.

It travels in the component, as a custom section that `tenure build` appends, so it lives as long as the version does.
It comes from a tenant, who may be hostile: its size is bounded, and what it says is shown to that tenant only. Reading
one takes a while: call it in a thread.

Mappings are the standard's (ECMA-426): lines with `;` between, segments with `,`, each of 1, 4 or 5 numbers in base-64
VLQ that count on from those before. Lines and columns begin at 0 there, and at 1 in stacks.
"""

from __future__ import annotations

import string
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import IO

import orjson

SECTION = b"tenure:sourcemap"
BYTES_MAX = 4 << 20
MAPPINGS_MAX = 300_000
"""Of one map: the SDK and a small project have 20,000."""
SECTIONS_MAX = 10_000
_DIGITS = {sign: value for value, sign in enumerate(string.ascii_uppercase + string.ascii_lowercase + "0123456789+/")}
_HEADER_BYTES = 8


class SourceMap:
    """`sources` are paths as the build wrote them. Raises ValueError for what is no source map."""

    def __init__(self, text: bytes) -> None:
        value = orjson.loads(text)
        if not isinstance(value, dict) or value.get("version") != 3:
            raise ValueError("it is not a source map of version 3")
        sources, mappings = value.get("sources"), value.get("mappings")
        if not isinstance(sources, list) or not all(isinstance(one, str) for one in sources):
            raise ValueError('its "sources" are no paths')
        if not isinstance(mappings, str):
            raise ValueError('its "mappings" are no text')
        self.sources: list[str] = sources
        self._lines = _read_mappings(mappings, len(sources))

    def find(self, line: int, column: int) -> tuple[str, int, int] | None:
        """(source, line, column) of a place in the built file; all of them begin at 1. None if it has no source."""
        if not 0 < line <= len(self._lines):
            return None
        columns, places = self._lines[line - 1]
        found = bisect_right(columns, column - 1) - 1
        if found < 0 or places[3 * found] < 0:
            return None
        source, at_line, at_column = places[3 * found : 3 * found + 3]
        return self.sources[source], at_line + 1, at_column + 1


_Line = tuple["array[int]", "array[int]"]
"""Columns that segments begin at, and three numbers for each: source (-1: none), line, column."""


def _read_mappings(mappings: str, sources: int) -> list[_Line]:
    if mappings.count(",") + mappings.count(";") >= MAPPINGS_MAX:
        raise ValueError(f"it has more than {MAPPINGS_MAX:,} mappings")
    lines: list[_Line] = []
    source = at_line = at_column = 0
    for text in mappings.split(";"):
        columns, places = array("q"), array("q")
        column = 0
        for segment in text.split(",") if text else ():
            numbers = _read_numbers(segment)
            if len(numbers) not in (1, 4, 5):
                raise ValueError("a mapping has too few or too many numbers")
            column += numbers[0]
            columns.append(column)
            if len(numbers) == 1:
                places.extend((-1, 0, 0))
                continue
            source, at_line, at_column = source + numbers[1], at_line + numbers[2], at_column + numbers[3]
            if not 0 <= source < sources or at_line < 0 or at_column < 0 or max(at_line, at_column, column) >> 32:
                raise ValueError("a mapping leads nowhere")
            places.extend((source, at_line, at_column))
        lines.append((columns, places))
    return lines


def _read_numbers(segment: str) -> list[int]:
    numbers, value, shift = [], 0, 0
    for sign in segment:
        digit = _DIGITS.get(sign)
        if digit is None or shift > 60:
            raise ValueError("a mapping is not in base-64 VLQ")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            numbers.append(-(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    if shift:
        raise ValueError("a mapping ends within a number")
    return numbers


def find_section(component: Path) -> bytes | None:
    """The source map in a component's file, or None; also None if the file is damaged, which is for others to say.

    Raises ValueError if it is too large, OSError.
    """
    with component.open("rb") as file:
        file.seek(_HEADER_BYTES)
        for _ in range(SECTIONS_MAX):
            kind = file.read(1)
            if not kind or (size := _read_size(file)) is None:
                return None
            start = file.tell()
            if kind == b"\0" and file.read(1 + len(SECTION)) == bytes([len(SECTION)]) + SECTION:
                if size > BYTES_MAX:
                    raise ValueError(f"it is larger than {BYTES_MAX >> 20} MiB")
                return file.read(size - 1 - len(SECTION))
            file.seek(start + size)
    return None


def complaint(component: Path) -> str | None:
    """What is wrong with the source map of a component, for those who ship it."""
    try:
        if (section := find_section(component)) is not None:
            SourceMap(section)
    except ValueError as error:
        return f"The component's source map cannot be read: {error}. Stacks in its log show places in the built file."
    return None


def _read_size(file: IO[bytes]) -> int | None:
    """An unsigned LEB128 number of 32 bits; None if there is none."""
    value = 0
    for shift in range(0, 35, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if not byte[0] & 128:
            return value
    return None
