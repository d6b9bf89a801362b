"""A token bucket that is one number: the time until which what was taken from it lasts.

Taking `n` moves that time on by `n` intervals, from now if it has passed. It may lie `window_s` ahead at most: so much
can be taken at once, and afterwards one more with each interval. No timer fills it, and it can lie in memory that
several processes share (`page`).
"""

from __future__ import annotations

EPSILON_S = 1e-6
"""Far above what sums of times are wrong by, far below any interval that matters."""
DEBT_S_MAX = 300.0
"""What was used beyond the window is forgotten as far as it takes longer to make up for. So no bucket lies further
ahead, unless its time is of a clock that has begun anew since.
"""


class Bucket:
    """`rate` for each `per_s` seconds: `rate` of them, one at least, can be taken at once."""

    __slots__ = ("_at", "_cells", "_interval_s", "_window_s", "name", "rate")

    def __init__(self, name: str, rate: float, per_s: float, cells: memoryview[float], at: int) -> None:
        self.name = name
        self.rate = rate
        self._interval_s = per_s / rate
        self._window_s = max(per_s, self._interval_s)
        self._cells = cells
        self._at = at

    def _until(self, now: float) -> float:
        """From when the bucket is full."""
        until: float = self._cells[self._at]
        return now if until < now or until > now + self._window_s + DEBT_S_MAX + EPSILON_S else until

    def take(self, now: float) -> float:
        """Take one: 0, or in how many seconds there will be one; then nothing is taken."""
        until = self._until(now) + self._interval_s
        wait_s = until - now - self._window_s
        if wait_s > EPSILON_S:
            return wait_s
        self._cells[self._at] = until
        return 0.0

    def give_back(self) -> None:
        """What `take` took."""
        self._cells[self._at] -= self._interval_s

    def spend(self, amount: float, now: float) -> None:
        """Take as much as was used, whether it is there or not."""
        until = self._until(now) + amount * self._interval_s
        self._cells[self._at] = min(until, now + self._window_s + DEBT_S_MAX)

    def wait_s(self, now: float) -> float:
        """In how many seconds something can be taken that is only measured afterwards; 0 for now."""
        return max(self._until(now) - now - self._window_s + EPSILON_S, 0.0)

    def used(self, now: float) -> float:
        """How much is taken and not filled up again."""
        return (self._until(now) - now) / self._interval_s
