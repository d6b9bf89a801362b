"""What functions log, kept for a while: numbered as it comes, shown to those who follow, written to disk in batches.

It belongs to the control process. `append` touches memory only; a thread of the journal's own writes what came
together (`segments`), and what comes faster than the disk takes it is bounded (`waiting`). What had to be dropped, here
or before, is a line of its own, of type "notice".

Invariants: numbers of a function's lines rise, over restarts too; a follower gets every line from the moment it
subscribed, in order, or is told how many it missed because it was slow; a page shows nothing that is not numbered yet.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson

from host.model.clock import Clock, TimerHandle
from host.model.errors import Unavailable
from host.model.limits import LOG_LIMITS, LogLimits
from host.telemetry.log import get
from host.telemetry.segments import Entry, Match, Segments
from host.telemetry.waiting import Lines, Waiting

SWEEP_S = 600.0
FOLLOWER_LINES_MAX = 2_000

_log = get("telemetry.journal")


class Page(NamedTuple):
    """`entries`, the oldest first; `more`: others match too."""

    entries: list[Entry]
    more: bool


class Follower:
    """Lines of one function as they come. `missed` were dropped because nobody took them in time; `over`: the function
    is deleted, and no more come.
    """

    def __init__(self, match: Match) -> None:
        self.missed = 0
        self.over = False
        self._match = match
        self._lines: deque[Entry] = deque()
        self._came = asyncio.Event()

    def offer(self, entry: Entry) -> None:
        if self._match(entry):
            self._lines.append(entry)
            if len(self._lines) > FOLLOWER_LINES_MAX:
                self._lines.popleft()
                self.missed += 1
            self._came.set()

    def wake(self) -> None:
        self._came.set()

    async def take(self, patience_s: float) -> list[Entry]:
        """What has come since the last time; waits for it so long at most."""
        try:
            async with asyncio.timeout(patience_s):
                await self._came.wait()
        except TimeoutError:
            return []
        self._came.clear()
        lines, self._lines = list(self._lines), deque()
        return lines


class Journal:
    """`keep()` are the ids of all functions there are. Everything but the writing runs on the loop."""

    def __init__(
        self, folder: Path, clock: Clock, keep: Callable[[], Collection[str]], limits: LogLimits = LOG_LIMITS
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._keep = keep
        self._segments = Segments(folder, limits)
        self._thread = ThreadPoolExecutor(1, "journal")
        self._waiting = Waiting(limits)
        self._last: dict[str, int] = {}
        self._followers: dict[str, list[Follower]] = {}
        self._following: Counter[str] = Counter()
        self.stopping = False
        self._writing: asyncio.Future[None] | None = None
        self._sweeper: TimerHandle | None = None
        self.lines = 0
        self.lost = 0
        """Lines that the disk refused."""

    def start(self) -> None:
        """Remove what is too old or nobody's, now and from time to time."""
        self._thread.submit(self._sweep, set(self._keep()), self._clock.now() / 1000)
        self._sweeper = self._clock.call_later(SWEEP_S, self.start)

    @property
    def dropped(self) -> int:
        return self._waiting.dropped + self.lost

    def append(self, function_id: str, lines: list[bytes], missed: int = 0) -> None:
        """Keep lines, each a JSON object without a number; `missed` more came before them and are lost."""
        if missed:
            lines = [orjson.dumps(missing(missed, self._clock.now())), *lines]
        last = max(self._last.get(function_id, 0), int(self._clock.now() * 1000) - 1)
        followers = self._followers.get(function_id, ())
        for line in lines:
            last += 1
            numbered = _numbered(line, last)
            self._waiting.add(function_id, numbered)
            if followers:
                entry = orjson.loads(numbered)
                for follower in followers:
                    follower.offer(entry)
        self._last[function_id] = last
        self.lines += len(lines)
        self._write_soon()

    def check_room(self, tenant: str) -> None:
        """Raises Unavailable when the tenant has too many followers."""
        if self._following[tenant] >= self.limits.followers_per_tenant_max:
            raise Unavailable(f"{self.limits.followers_per_tenant_max} requests follow your logs already. End one.")

    def follow(self, function_id: str, tenant: str, match: Match) -> Follower:
        """To be ended with `leave`."""
        follower = Follower(match)
        self._followers.setdefault(function_id, []).append(follower)
        self._following[tenant] += 1
        return follower

    def leave(self, function_id: str, tenant: str, follower: Follower) -> None:
        followers = self._followers[function_id]
        followers.remove(follower)
        if not followers:
            del self._followers[function_id]
        self._following[tenant] -= 1
        if not self._following[tenant]:
            del self._following[tenant]

    def dismiss(self) -> None:
        """The host stops: whoever follows is to end."""
        self.stopping = True
        for followers in self._followers.values():
            for follower in followers:
                follower.wake()

    async def read(self, function_id: str, after: int, match: Match, limit: int, *, newest: bool = False) -> Page:
        """Of the lines numbered above `after` that match, the first `limit` or, if `newest`, the last; the oldest
        comes first. All that was appended before this call is among them.
        """
        await self.written()
        return Page(*await asyncio.to_thread(self._segments.read, function_id, after, match, limit, newest=newest))

    async def written(self) -> None:
        """Until all that was appended is on disk, or lost."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    def forget(self, function_id: str) -> None:
        """The function is deleted: its lines go with it."""
        self._waiting.forget(function_id)
        self._last.pop(function_id, None)
        for follower in self._followers.get(function_id, ()):
            follower.over = True
            follower.wake()
        self._thread.submit(self._segments.forget, function_id)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.written()
        await asyncio.to_thread(self._thread.shutdown)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write_soon(self) -> None:
        if self._writing is None and self._waiting:
            write = partial(self._write, self._waiting.take(), self._clock.now())
            self._writing = asyncio.get_running_loop().run_in_executor(self._thread, write)
            self._writing.add_done_callback(self._wrote)

    def _wrote(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if not writing.cancelled() and (error := writing.exception()) is not None:
            _log.exception("lines_not_written", error)
        self._write_soon()

    def _sweep(self, keep: set[str], now_s: float) -> None:
        """In the thread."""
        try:
            self._segments.sweep(keep, now_s)
        except OSError as error:
            _log.error("sweep_failed", error=error)

    def _write(self, batch: list[Lines], now_ms: float) -> None:
        """In the thread."""
        for function_id, lines, dropped in batch:
            if not lines:
                continue
            first = _number(lines[0])
            if dropped:
                first -= 1  # that of the last one that was dropped
                lines.insert(0, _numbered(orjson.dumps(missing(dropped, now_ms)), first))
            try:
                self._segments.write(function_id, first, lines)
            except OSError as error:
                self.lost += len(lines)
                _log.error("lines_lost", function=function_id, count=len(lines), error=error)


def notice(text: str, now_ms: float, level: str = "warn") -> Entry:
    """A line that the host writes itself."""
    return {"time": now_ms, "type": "notice", "level": level, "instance": "", "request_id": "", "text": text}


def missing(count: int, now_ms: float) -> Entry:
    """The line that stands for `count` others."""
    lines = f"{count} line{'' if count == 1 else 's'}"
    return notice(f"{lines} before this one had to be dropped: more came than could be kept", now_ms)


def _numbered(line: bytes, number: int) -> bytes:
    return b'{"seq":%d,' % number + line[1:]


def _number(line: bytes) -> int:
    return int(line[len(b'{"seq":') : line.index(b",")])
