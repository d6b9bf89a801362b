"""Which version is to be refused because workers die while its guests run.

A death counts against the versions that ran at that moment when a guest can have caused it: a crash (the engine
aborted, memory was touched that is not there), an error that ended the process, or the kernel taking its memory back.
A worker that somebody killed counts against nobody.

A version that has `DEATHS_MAX` such deaths within `WITHIN_S` is refused; of several, one at a time, first the one that
was polled in the background: it was there for longest.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path

DEATHS_MAX = 3
WITHIN_S = 60.0
VERSIONS_MAX = 1_000

_VMSTAT = Path("/proc/vmstat")


def memory_kills() -> int:
    """How many processes of this machine the kernel has killed for want of memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in _VMSTAT.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def may_be_a_guests_doing(status: int | None, memory_killed: bool) -> bool:
    """`status` is as waitpid has it; None: nobody knows. `memory_killed`: the kernel killed something just before."""
    if status is None:
        return False
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return memory_killed
    return code not in (0, -signal.SIGTERM, -signal.SIGINT)


class Blame:
    """`now` is in seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._deaths: dict[int, deque[float]] = {}

    def died(self, marks: Sequence[int], now: float) -> int | None:
        """A worker died while these ran (the loop's first, then the background's; 0: none): which is to be refused."""
        for mark in {mark for mark in marks if mark}:
            deaths = self._deaths.setdefault(mark, deque(maxlen=DEATHS_MAX))
            deaths.append(now)
        for mark in reversed([mark for mark in marks if mark]):
            deaths = self._deaths[mark]
            if len(deaths) == DEATHS_MAX and now - deaths[0] <= WITHIN_S:
                del self._deaths[mark]
                return mark
        while len(self._deaths) > VERSIONS_MAX:
            del self._deaths[next(iter(self._deaths))]
        return None
