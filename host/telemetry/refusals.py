"""Lines in a function's log that say what was refused because of a quota: the first time at once, then one a minute.

It belongs to the control process. However many requests are refused, a function gets one line a minute for each quota,
with how many there were.
"""

from __future__ import annotations

from functools import partial

import orjson

from host.model.clock import Clock
from host.telemetry.journal import Journal, notice

EVERY_S = 60.0


class Refusals:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._since: dict[tuple[str, str], int] = {}
        """By function id and quota: how many came since the last line. One is here for a minute after a line."""

    def add(self, function_id: str, quota: str, count: int) -> None:
        key = function_id, quota
        if key in self._since:
            self._since[key] += count
        else:
            self._say(key, count, "")

    def forget(self, function_id: str) -> None:
        for key in [key for key in self._since if key[0] == function_id]:
            self._since[key] = 0

    def _say(self, key: tuple[str, str], count: int, when: str) -> None:
        self._since[key] = 0
        self._clock.call_later(EVERY_S, partial(self._again, key))
        function_id, quota = key
        line = notice(f"over the quota {quota}: refused {count}{when}", self._clock.now())
        self._journal.append(function_id, [orjson.dumps(line)])

    def _again(self, key: tuple[str, str]) -> None:
        count = self._since.pop(key)
        if count:
            self._say(key, count, f" in the last {EVERY_S:g} s")
