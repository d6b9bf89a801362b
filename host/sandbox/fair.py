"""A queue in which tenants take turns: what one of them has queued delays each of the others by one item at most."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a tenant; between tenants, one item each in turn. True when it is not empty.

    Holds nothing of a tenant that has nothing queued. Not for use by several threads without a lock.
    """

    __slots__ = ("_items", "_turns")

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def push(self, tenant: str, item: T) -> None:
        queue = self._items.get(tenant)
        if queue is None:
            queue = self._items[tenant] = deque()
            self._turns.append(tenant)
        queue.append(item)

    def pop(self) -> T:
        """The next item. Raises IndexError when there is none."""
        tenant = self._turns.popleft()
        queue = self._items[tenant]
        item = queue.popleft()
        if queue:
            self._turns.append(tenant)
        else:
            del self._items[tenant]
        return item

    def clear(self) -> None:
        self._items.clear()
        self._turns.clear()
