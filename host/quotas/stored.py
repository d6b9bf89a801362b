"""How many bytes the actors of each tenant and of each function hold in a worker's shards, and how many more they may.

The truth is the record of each actor; here are sums of those, for which every commit says by how much an actor grew.
When a shard is opened its actors are counted anew, in parts (`actors.counting`); until that is done the worker's share
of the page goes on from what it was before. So the sums are exact, and a crash cannot make them wrong.

Actors are summed up by their type. A type is of one tenant and belongs to one function at a time, so its bytes move
from function to function with the class, and nothing of it is looked at anew.

What a turn writes is held against the quotas twice: with each `put`, so that the guest can catch the error, and when it
commits, so that turns which ran at the same time do not pass them together. Two workers do not wait for each other:
each may commit one turn in the moment in which the other does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from host.model.limits import MiB
from host.quotas.page import Page


class Sum:
    """Bytes of a tenant or of a function in this worker's shards, as far as they are counted. `row` is where those of
    all workers lie in the page; None: nowhere.
    """

    __slots__ = ("bytes", "row")

    def __init__(self) -> None:
        self.bytes = 0
        self.row: int | None = None


class _Type:
    """Bytes of the actors of one type, and the sums that they are in: that of the tenant, then that of its function."""

    __slots__ = ("bytes", "sums")

    def __init__(self, tenant: Sum) -> None:
        self.bytes = 0
        self.sums: tuple[Sum, ...] = (tenant,)


class Stored:
    """One per worker, which writes the column `slot` of the page. Everything but `left` runs on the loop."""

    def __init__(self, page: Page, slot: int) -> None:
        self._page = page
        self._slot = slot
        self._tenants: dict[str, Sum] = {}
        self._functions: dict[str, Sum] = {}
        self._types: dict[tuple[str, str], _Type] = {}
        self._owned: dict[str, frozenset[str]] = {}
        """By function id: the types that belong to it."""
        self._counting = 0

    @property
    def counting(self) -> bool:
        """Some shards are not counted to their end yet."""
        return self._counting > 0

    def tenant(self, tenant: str) -> Sum:
        """That of all its actors."""
        return _one_of(self._tenants, tenant)

    def function(self, function_id: str) -> Sum:
        """That of the actors whose class the function has."""
        return _one_of(self._functions, function_id)

    def of_functions(self) -> dict[str, int]:
        """Bytes of the actors of each function that has some, by its id."""
        return {function_id: one.bytes for function_id, one in self._functions.items() if one.bytes}

    def of_types(self, tenant: str, types: Collection[str]) -> int:
        """Bytes of the tenant's actors of these types."""
        return sum(one.bytes for name in types if (one := self._types.get((tenant, name))) is not None)

    def begin(self) -> None:
        """A shard is being counted."""
        self._counting += 1

    def end(self) -> None:
        """It is counted to its end."""
        self._counting -= 1
        for one in (*self._tenants.values(), *self._functions.values()):
            self._write(one)

    def place(self, one: Sum, row: int) -> None:
        """The sum belongs in this row of the page."""
        one.row = row
        self._write(one)

    def own(self, tenant: str, function_id: str, types: Collection[str]) -> None:
        """These types belong to the function from now on, and no others do."""
        mine, before = self.function(function_id), self._owned.pop(function_id, frozenset())
        if types:
            self._owned[function_id] = frozenset(types)
        for name in before.difference(types):
            one = self._type(tenant, name)
            if mine in one.sums:  # another function may have it already
                self._give(one, ())
        for name in types:
            one = self._type(tenant, name)
            if mine not in one.sums:
                self._give(one, (mine,))

    def found(self, tenant: str, actor_type: str, size: int) -> None:
        """An actor was counted."""
        kind = self._type(tenant, actor_type)
        kind.bytes += size
        for one in kind.sums:
            one.bytes += size

    def grew(self, tenant: str, actor_type: str, growth: int, counted: bool) -> None:
        """An actor holds so many bytes more, or less. `counted`: it was counted before."""
        kind = self._types.get((tenant, actor_type)) or self._type(tenant, actor_type)
        page = self._page
        if counted:
            kind.bytes += growth
        for one in kind.sums:
            if counted:
                one.bytes += growth
            if one.row is not None:
                at = one.row * page.slots + self._slot
                page.stored[at] = page.stored[at] + growth if self._counting else one.bytes

    def left(self, one: Sum, most: int) -> int:
        """How many bytes more may be stored on the whole host of what may be `most`."""
        return most - (one.bytes if one.row is None else self._page.stored_of(one.row))

    def _type(self, tenant: str, actor_type: str) -> _Type:
        kind = self._types.get((tenant, actor_type))
        if kind is None:
            kind = self._types[tenant, actor_type] = _Type(self.tenant(tenant))
        return kind

    def _give(self, kind: _Type, owner: tuple[Sum, ...]) -> None:
        tenant, *before = kind.sums
        kind.sums = (tenant, *owner)
        for one, growth in (*((one, -kind.bytes) for one in before), *((one, kind.bytes) for one in owner)):
            one.bytes += growth
            self._write(one)

    def _write(self, one: Sum) -> None:
        if one.row is not None and not self._counting:
            self._page.stored[one.row * self._page.slots + self._slot] = one.bytes


class Bound(NamedTuple):
    """A sum may be `most_mb` on the whole host; `why_not` is said to the guest that would pass it."""

    sum: Sum
    most_mb: float
    why_not: str


class Room:
    """What the actors of one version may still store. `refused`: how often it was too little since somebody looked."""

    __slots__ = ("_bounds", "_stored", "refused")

    def __init__(self, stored: Stored, bounds: Collection[Bound]) -> None:
        self._stored = stored
        self._bounds = [(one.sum, int(one.most_mb * MiB), one.why_not) for one in bounds]
        self.refused = 0

    def why_not(self, growth: int) -> str:
        """Why there is no room for so many bytes more, or "". May be asked in any thread."""
        for one, most, text in self._bounds:
            if growth > self._stored.left(one, most):
                self.refused += 1
                return text
        return ""


def _one_of(sums: dict[str, Sum], key: str) -> Sum:
    found = sums.get(key)
    if found is None:
        found = sums[key] = Sum()
    return found
