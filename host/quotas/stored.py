"""How many bytes each tenant's actors hold in a worker's shards, and how many more they may.

The truth is the record of each actor; here are sums of those, for which every commit says by how much an actor grew.
When a shard is opened its actors are counted anew, in parts (`actors.counting`); until that is done the worker's share
of the page goes on from what it was before. So the sums are exact, and a crash cannot make them wrong.

What a turn writes is held against the quota twice: with each `put`, so that the guest can catch the error, and when it
commits, so that turns which ran at the same time do not pass it together. Two workers do not wait for each other: each
may commit one turn in the moment in which the other does.
"""

from __future__ import annotations

from collections import Counter

from host.model.limits import MiB
from host.quotas.page import Page


class Stored:
    """One per worker, which writes the column `slot` of the page. Everything but `left` runs on the loop."""

    def __init__(self, page: Page, slot: int) -> None:
        self._page = page
        self._slot = slot
        self._bytes: Counter[str] = Counter()
        self._rows: dict[str, int] = {}
        self._counting = 0

    @property
    def counting(self) -> bool:
        """Some shards are not counted to their end yet."""
        return self._counting > 0

    def of(self, tenant: str) -> int:
        """Bytes in this worker's shards, as far as they are counted."""
        return self._bytes[tenant]

    def begin(self) -> None:
        """A shard is being counted."""
        self._counting += 1

    def end(self) -> None:
        """It is counted to its end."""
        self._counting -= 1
        if not self._counting:
            for tenant, row in self._rows.items():
                self._write(tenant, row)

    def place(self, tenant: str, row: int) -> None:
        """The tenant's sum belongs in this row of the page."""
        self._rows[tenant] = row
        if not self._counting:
            self._write(tenant, row)

    def found(self, tenant: str, size: int) -> None:
        """An actor was counted."""
        self._bytes[tenant] += size

    def grew(self, tenant: str, growth: int, counted: bool) -> None:
        """An actor holds so many bytes more, or less. `counted`: it was counted before."""
        if counted:
            self._bytes[tenant] += growth
        row = self._rows.get(tenant)
        if row is None:
            return
        if self._counting:
            self._page.stored[row * self._page.slots + self._slot] += growth
        else:
            self._write(tenant, row)

    def left(self, tenant: str, most: int) -> int:
        """How many bytes more the tenant may store on the whole host, if it may store `most`."""
        row = self._rows.get(tenant)
        return most - (self._bytes[tenant] if row is None else self._page.stored_of(row))

    def _write(self, tenant: str, row: int) -> None:
        self._page.stored[row * self._page.slots + self._slot] = self._bytes[tenant]


class Room:
    """What one tenant may still store. `refused`: how often it was too little since somebody looked."""

    __slots__ = ("_most", "_stored", "_tenant", "refused")

    def __init__(self, stored: Stored, tenant: str, most_mb: float) -> None:
        self._stored = stored
        self._tenant = tenant
        self._most = int(most_mb * MiB)
        self.refused = 0

    def takes(self, growth: int) -> bool:
        """Whether there is room for so many bytes more. May be asked in any thread."""
        if growth <= self._stored.left(self._tenant, self._most):
            return True
        self.refused += 1
        return False

    @property
    def why_not(self) -> str:
        return (
            f"your actors hold at most {self._most / MiB:g} MiB together: delete something, or ask for a larger quota"
        )
