"""A queue in which tenants take turns: what one of them has queued delays each of the others by one item.

A tenant that had nothing queued goes before those that take turns, because its item is usually all it has: it need not
wait for one item of every busy tenant. A tenant that is charged for an item that took long (`charge`) lets the others
go first until it has paid. Within a tenant, what is pushed with `later` goes after the rest.

Nobody starves: every `EVERY`th turn is that of a tenant that takes turns, every `EVERY`th item of a tenant is one that
was pushed with `later`, and each turn that a tenant is passed over pays for `TURN_S` of what it owes.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")

EVERY = 8
TURN_S = 0.001
TENANTS_MAX = 1_000


class _Lane(Generic[T]):
    """What one tenant has queued."""

    __slots__ = ("first", "later", "since_later")

    def __init__(self) -> None:
        self.first: deque[T] = deque()
        self.later: deque[T] = deque()
        self.since_later = 0

    def pop(self) -> T:
        if self.later and (not self.first or self.since_later >= EVERY):
            self.since_later = 0
            return self.later.popleft()
        self.since_later += 1
        return self.first.popleft()


class FairQueue(Generic[T]):
    """True when it is not empty. Holds nothing of a tenant that has nothing queued but what it owes, which is forgotten
    when a tenant is alone. Not for use by several threads without a lock.
    """

    __slots__ = ("_debts", "_fresh", "_lanes", "_last", "_since_turn", "_turns", "changes")

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane[T]] = {}
        self._fresh: deque[str] = deque()
        self._turns: deque[str] = deque()
        self._debts: dict[str, float] = {}
        self._since_turn = 0
        self._last = ""
        self.changes = 0
        """How often another tenant came than the one before: it stands still while one is alone."""

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def push(self, tenant: str, item: T, later: bool = False) -> None:
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = _Lane()
            (self._turns if tenant in self._debts else self._fresh).append(tenant)
            if tenant != self._last:
                self.changes += bool(self._last)
                self._last = tenant
        (lane.later if later else lane.first).append(item)

    def pop(self) -> T:
        """The next item. Raises IndexError when there is none."""
        if self._fresh and (not self._turns or self._since_turn < EVERY):
            self._since_turn = self._since_turn + 1 if self._turns else 0
            tenant = self._fresh.popleft()
        else:
            self._since_turn = 0
            tenant = self._turns.popleft()
            if self._debts:
                tenant = self._paid_up(tenant)
        lane = self._lanes[tenant]
        item = lane.pop()
        if lane.first or lane.later:
            self._turns.append(tenant)
        else:
            del self._lanes[tenant]
        return item

    def charge(self, tenant: str, seconds: float) -> None:
        """An item of `tenant` took so long, which is more than `TURN_S`."""
        self._debts[tenant] = seconds

    def all_owe(self) -> bool:
        """Whether the next item is one of a tenant that has still to pay, because nobody else has any."""
        debts = self._debts
        return bool(debts) and not self._fresh and all(tenant in debts for tenant in self._turns)

    def _paid_up(self, tenant: str) -> str:
        """The first in turn that owes nothing, `tenant` or one behind it. Those that are passed over pay."""
        turns, debts = self._turns, self._debts
        while turns and tenant in debts:
            debts[tenant] -= TURN_S
            if debts[tenant] <= 0:
                del debts[tenant]
            turns.append(tenant)
            tenant = turns.popleft()
        if not turns and not self._fresh:
            debts.clear()
        return tenant

    def clear(self) -> None:
        for each in (self._lanes, self._fresh, self._turns, self._debts):
            each.clear()


class Allowance:
    """How much time each tenant has used of what it may have: `share` of all time, `burst_s` of it at once.

    Kept for each tenant is the moment by which all it used is paid for, at its share; those in the past are forgotten.
    """

    __slots__ = ("_burst_s", "_paid_at", "_share")

    def __init__(self, share: float, burst_s: float) -> None:
        self._share = share
        self._burst_s = burst_s / share
        self._paid_at: dict[str, float] = {}

    def spend(self, tenant: str, seconds: float) -> None:
        now = perf_counter()
        if len(self._paid_at) >= TENANTS_MAX:
            self._paid_at = {each: at for each, at in self._paid_at.items() if at > now}
        self._paid_at[tenant] = max(self._paid_at.get(tenant, 0.0), now) + seconds / self._share

    def is_spent(self, tenant: str) -> bool:
        paid_at = self._paid_at.get(tenant)
        return paid_at is not None and paid_at - perf_counter() > self._burst_s
