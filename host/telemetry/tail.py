"""What guests log, kept for a while: a bounded ring of lines for each function, read by `logs` and `dev`.

A reader follows with a cursor: the number of the next line it has not seen. Numbers never go back, so a reader that
fell behind learns how many lines it missed, and lines are never shown twice. A live reader subscribes.

Invariants: a ring holds at most `lines_max` lines and `chars_max` characters, one line at most `line_chars_max`;
the oldest go first and are counted in `dropped`. Everything runs on the loop's thread.

Not here: the host's own log (`telemetry.log`), and how much one call may log (`Limits.log_bytes_per_call_max`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from host.telemetry.log import get

HANDLER = "handler"
CUT = " … [cut]"

_log = get("telemetry.tail")


class Line(NamedTuple):
    """One line a guest logged.

    `time_ms` is milliseconds since 1970; `level` is debug, info, warn or error; `source` is "handler" or
    "ActorType/name"; `request_id` is that of the request it was logged for, or "".
    """

    time_ms: float
    level: str
    source: str
    request_id: str
    text: str


class Page(NamedTuple):
    """`lines`, oldest first; `cursor` to go on from; `missed`: lines after the asked cursor that are gone."""

    lines: list[Line]
    cursor: int
    missed: int


Subscriber = Callable[[Line], None]


class Tail:
    """The last lines of one function."""

    __slots__ = ("_chars", "_chars_max", "_end", "_line_chars_max", "_lines", "_lines_max", "_subscribers")

    def __init__(self, *, lines_max: int = 2_000, chars_max: int = 1 << 20, line_chars_max: int = 16 << 10) -> None:
        self._lines: deque[Line] = deque()
        self._lines_max, self._chars_max, self._line_chars_max = lines_max, chars_max, line_chars_max
        self._chars = 0
        self._end = 0  # the number the next line gets
        self._subscribers: list[Subscriber] = []

    @property
    def dropped(self) -> int:
        """How many lines had to go since the ring was made."""
        return self._end - len(self._lines)

    @property
    def cursor(self) -> int:
        """Where a reader starts who wants only what comes from now on."""
        return self._end

    def append(self, line: Line) -> None:
        """Keep a line (a text that is too long is cut and says so) and hand it to the subscribers."""
        if len(line.text) > self._line_chars_max:
            line = line._replace(text=line.text[: self._line_chars_max] + CUT)
        self._lines.append(line)
        self._chars += len(line.text)
        self._end += 1
        while len(self._lines) > self._lines_max or (self._chars > self._chars_max and len(self._lines) > 1):
            self._chars -= len(self._lines.popleft().text)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(line)
            except Exception as error:
                # A reader that fails must not fail the guest that logs, nor do so again on every line.
                _log.exception("subscriber_failed", error)
                self._remove(subscriber)

    def since(self, cursor: int = 0, *, limit: int | None = None) -> Page:
        """Lines from number `cursor` on, at most `limit`. A cursor beyond the end (of an earlier process) is 0."""
        oldest = self._end - len(self._lines)
        start = cursor if 0 <= cursor <= self._end else 0
        first = max(start, oldest)
        stop = None if limit is None else first - oldest + limit
        lines = list(islice(self._lines, first - oldest, stop))
        return Page(lines, first + len(lines), first - start)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber(line)` for every line from now on; returns what ends that. It must not block."""
        self._subscribers.append(subscriber)
        return lambda: self._remove(subscriber)

    def _remove(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)


class Tails:
    """The rings of all functions, by function id. A ring is made when it is first asked for."""

    __slots__ = ("_tails",)

    def __init__(self) -> None:
        self._tails: dict[str, Tail] = {}

    def of(self, function_id: str) -> Tail:
        tail = self._tails.get(function_id)
        if tail is None:
            tail = self._tails[function_id] = Tail()
        return tail

    def forget(self, function_id: str) -> None:
        """The function is deleted: its lines go with it."""
        self._tails.pop(function_id, None)


class Batch(NamedTuple):
    """Lines of one function on their way to another process; `missed` came before them and had to go."""

    function_id: str
    lines: list[Line]
    missed: int


class Outgoing(Tails):
    """The lines of a process that does not keep them: they wait in the rings, with their bounds, until they are taken.

    `on_line` is called for the first line since then.
    """

    __slots__ = ("_on_line",)

    def __init__(self, on_line: Callable[[], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def of(self, function_id: str) -> Tail:
        if not self._tails:
            self._on_line()
        return super().of(function_id)

    def take(self) -> list[Batch]:
        tails, self._tails = self._tails, {}
        return [Batch(function_id, tail.since().lines, tail.dropped) for function_id, tail in tails.items()]
