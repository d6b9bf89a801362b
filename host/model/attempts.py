"""How often somebody may try a key: failures are counted by address, and one that failed too often has to wait.

A key has 256 random bits, so nobody guesses one. What is limited is the noise of trying, and keys that were half seen.
Only failures count: who has a key is not kept out by using it. Behind a proxy that the host does not know, all visitors
are one address.

Invariant: at most `ADDRESSES_MAX` addresses are remembered; beyond, those that failed longest ago are forgotten first.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from host.model.clock import Clock

FAILURES_MAX, FORGIVEN_EVERY_S = 10, 30.0
ADDRESSES_MAX = 10_000


class Attempts:
    """`failures_max` at once; then one more for each `forgiven_every_s`."""

    def __init__(
        self, clock: Clock, failures_max: int = FAILURES_MAX, forgiven_every_s: float = FORGIVEN_EVERY_S
    ) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._forgiven_every_s = forgiven_every_s
        self._failed: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By address: failures that are not forgiven yet, as of a moment (monotonic seconds)."""

    def wait_s(self, address: str) -> int:
        """How long it has to wait before it may try, in seconds; 0 if it may now."""
        over = self._failures(address) + 1 - self._failures_max
        return math.ceil(over * self._forgiven_every_s) if over > 0 else 0

    def failed(self, address: str) -> None:
        failures = self._failures(address) + 1
        self._failed[address] = failures, self._clock.monotonic()
        self._failed.move_to_end(address)
        if len(self._failed) > ADDRESSES_MAX:
            self._failed.popitem(last=False)

    def _failures(self, address: str) -> float:
        failures, since = self._failed.get(address, (0.0, 0.0))
        return max(0.0, failures - (self._clock.monotonic() - since) / self._forgiven_every_s)
