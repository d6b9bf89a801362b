"""Erasing what a tenant's actors stored, wherever it is: every worker has a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from host.cluster.kinds import Kind
from host.supervisor.staff import Staff


class AllActorData:
    """`registry.ports.ActorData` over all workers. `slots()` are those that there should be, whether they are or not:
    what one that is away has stored must not be forgotten.
    """

    def __init__(self, staff: Staff, slots: Callable[[], Iterable[int]]) -> None:
        self._staff = staff
        self._slots = slots

    async def erase(self, tenant: str) -> None:
        await asyncio.gather(*(self._staff.ask(slot, Kind.ERASE, tenant) for slot in self._slots()))
