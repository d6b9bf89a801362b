"""Each function's log lines on disk: a ring of segment files, the oldest of which go when there is too much.

    <folder>/<function id>/<number of its first line, 17 digits>.jsonl

A line is a JSON object that begins with its number, `{"seq":N,`. Numbers rise within a function and are about the
microseconds since 1970 at which the line came here, so the place of a moment is found by the names of the segments.

A segment is written by one process only: after a restart the next line begins another one, so a line that a crash cut
short is the last of its file and nothing is ever appended to it. Nothing is synced: a machine that loses its power may
lose the last seconds.

Everything here blocks on the disk. `write`, `forget` and `sweep` are for one thread, `read` is for any.
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from host.model.limits import LogLimits

SEGMENTS_MAX = 64
"""Of one function, however small: a host that starts again and again begins one each time."""

Entry = dict[str, Any]
Match = Callable[[Entry], bool]


class _Segment(NamedTuple):
    first: int
    size: int
    path: Path


class Segments:
    def __init__(self, folder: Path, limits: LogLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._open: dict[str, list[_Segment]] = {}
        """Of each function that was written to since the start; the last segment is the one to append to."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, function_id: str, first: int, lines: list[bytes]) -> None:
        """Append `lines`, the first of which has this number. Raises OSError; then some of them may be there."""
        data = b"\n".join([*lines, b""])
        segments = self._open.get(function_id)
        if segments is None:
            (self._folder / function_id).mkdir(mode=0o700, exist_ok=True)
            segments = self._open[function_id] = self._segments(function_id)
            self._begin(function_id, segments, first)
        elif segments[-1].size >= self._limits.segment_bytes_max:
            self._begin(function_id, segments, first)
        last = segments[-1]
        with last.path.open("ab") as file:
            file.write(data)
        segments[-1] = last._replace(size=last.size + len(data))

    def read(
        self, function_id: str, after: int, match: Match, limit: int, *, newest: bool = False
    ) -> tuple[list[Entry], bool]:
        """(lines numbered above `after` that match, the oldest first; whether there are more).

        At most `limit`: the first of them, or the last if `newest`.
        """
        segments = self._segments(function_id)
        start = max(bisect_right([segment.first for segment in segments], after) - 1, 0)
        found: list[Entry] = []
        for segment in reversed(segments[start:]) if newest else segments[start:]:
            entries = [one for one in _entries(segment.path) if one["seq"] > after and match(one)]
            found = [*entries, *found] if newest else [*found, *entries]
            if len(found) > limit:
                return (found[len(found) - limit :] if newest else found[:limit]), True
        return found, False

    def forget(self, function_id: str) -> None:
        """Remove all of a function's lines."""
        self._open.pop(function_id, None)
        shutil.rmtree(self._folder / function_id, ignore_errors=True)

    def sweep(self, keep: Collection[str], now_s: float) -> None:
        """Remove what is too old, and what is of functions that are not among `keep`."""
        for folder in list(self._folder.iterdir()):
            if folder.name not in keep:
                self.forget(folder.name)
                continue
            for segment in self._segments(folder.name):
                if segment.path.stat().st_mtime < now_s - self._limits.age_s_max:
                    segment.path.unlink(missing_ok=True)
                    self._open.pop(folder.name, None)

    def _begin(self, function_id: str, segments: list[_Segment], first: int) -> None:
        """A new segment. What is too much goes before it, so that the ring is within its bounds when it is full."""
        limits = self._limits
        room = limits.function_bytes_max - limits.segment_bytes_max - limits.waiting_function_bytes_max
        while segments and (sum(one.size for one in segments) > room or len(segments) >= SEGMENTS_MAX):
            segments.pop(0).path.unlink(missing_ok=True)
        if segments and segments[-1].first >= first:
            first = segments[-1].first + 1  # a clock that was set back must not bring the files out of order
        segments.append(_Segment(first, 0, self._folder / function_id / f"{first:017d}.jsonl"))

    def _segments(self, function_id: str) -> list[_Segment]:
        """Those on disk, the oldest first."""
        found = []
        for path in (self._folder / function_id).glob("*.jsonl"):
            if path.stem.isdecimal():
                found.append(_Segment(int(path.stem), path.stat().st_size, path))
        return sorted(found)


def _entries(path: Path) -> Iterator[Entry]:
    """The lines of a segment; of one that was removed meanwhile none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        if line:
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:  # cut short by a crash
                continue
