"""Stacks of uncaught errors as their author knows the code: each place is looked up in the version's source map.

That is done when lines of a log are shown, not when they come: a flood of errors costs nothing more, and what nobody
reads is never looked up. A map is read in a thread and the last few are kept. A line stays as it is when its version is
no longer kept, was built without a map, or a frame has no source.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict

from host.model.errors import NotFound
from host.registry.ports import Blobs
from host.registry.registry import Registry
from host.registry.sourcemap import SourceMap, find_section
from host.telemetry.log import get
from host.telemetry.segments import Entry

MAPS_MAX = 8
"""A map of the SDK and a small project takes a few megabytes when it is read."""

_FRAME = re.compile(r"^(?P<before> +at (?:.*[ (])?)[^()\s]*:(?P<line>\d{1,9}):(?P<column>\d{1,9})(?P<after>\)?)$", re.M)
_FRAMES_MAX = 100

_log = get("registry.stacks")


class Stacks:
    def __init__(self, registry: Registry, blobs: Blobs) -> None:
        self._registry = registry
        self._blobs = blobs
        self._maps: OrderedDict[str, SourceMap | None] = OrderedDict()
        self._reading = asyncio.Lock()

    async def shown(self, function_id: str, lines: list[Entry]) -> list[Entry]:
        """Lines of a function's log, those of errors with places in the author's sources."""
        return [await self._shown(function_id, line) if line["type"] == "error" else line for line in lines]

    async def _shown(self, function_id: str, line: Entry) -> Entry:
        text: str = line["text"]
        if not _FRAME.search(text):
            return line
        try:
            digest = self._registry.version(function_id, line["version"]).digest
        except NotFound:
            return line
        found = await self._map_of(digest)
        return line if found is None else {**line, "text": mapped(text, found)}

    async def _map_of(self, digest: str) -> SourceMap | None:
        if digest in self._maps:
            self._maps.move_to_end(digest)
            return self._maps[digest]
        async with self._reading:
            if digest not in self._maps:
                self._maps[digest] = await asyncio.to_thread(self._read, digest)
                while len(self._maps) > MAPS_MAX:
                    self._maps.popitem(last=False)
        return self._maps.get(digest)

    def _read(self, digest: str) -> SourceMap | None:
        try:
            section = find_section(self._blobs.path(digest))
            return None if section is None else SourceMap(section)
        except (OSError, ValueError) as error:
            _log.warn("source_map_not_read", digest=digest, error=error)
            return None


def mapped(text: str, found: SourceMap) -> str:
    """A stack with `src/helper.ts:3:9` in the place of where that is in the built file."""

    def place(frame: re.Match[str]) -> str:
        there = found.find(int(frame["line"]), int(frame["column"]))
        if there is None:
            return frame[0]
        source, line, column = there
        return f"{frame['before']}{source}:{line}:{column}{frame['after']}"

    return _FRAME.sub(place, text, count=_FRAMES_MAX)
