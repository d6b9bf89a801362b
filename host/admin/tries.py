"""Who tries keys that are not known: after very many of them an address has to wait.

A key has 256 random bits: nobody finds one by trying, however fast. The bound is for what trying costs, and for keys of
which somebody has seen a part. It is wide, because a machine with a revoked key in a loop is no attack; and a key that
has worked from an address goes on working there, so nobody is kept out by a neighbour behind the same proxy.

Invariant: what is remembered is bounded; the addresses and keys that came longest ago are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict

from host.model.attempts import Attempts
from host.model.clock import Clock
from host.registry.auth import hash_key

FAILURES_MAX = 1_000
FORGIVEN_EVERY_S = 0.1
GOOD_MAX = 10_000


class Tries:
    def __init__(self, clock: Clock) -> None:
        self._attempts = Attempts(clock, FAILURES_MAX, FORGIVEN_EVERY_S)
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()

    def may(self, address: str, key: str) -> bool:
        """Whether the key may be looked up."""
        return not self._attempts.wait_s(address) or (address, hash_key(key)) in self._good

    def failed(self, address: str) -> None:
        self._attempts.failed(address)

    def worked(self, address: str, key: str) -> None:
        good = address, hash_key(key)
        self._good[good] = None
        self._good.move_to_end(good)
        if len(self._good) > GOOD_MAX:
            self._good.popitem(last=False)
