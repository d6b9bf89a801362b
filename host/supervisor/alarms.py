"""Alarms of all shards as one list: those of a worker's shards, and those of all workers.

Each source has its own part of a tenant's actors, in the one order of their keys. A page of all is merged from a page
of each, up to where the shortest of those that go on ends: beyond it another source may have something in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from host.actors.dead import DeadAlarm, WaitingAlarm
from host.actors.tools import ActorSummary
from host.cluster.kinds import Kind
from host.model.errors import Unavailable
from host.model.ids import ActorId
from host.storage.keys import actor_key
from host.supervisor.asking import Answering

A = TypeVar("A", DeadAlarm, WaitingAlarm, ActorSummary)


class AlarmSource(Protocol):
    """`actors.dead.TenantAlarms` of one shard, or `AllAlarms`."""

    async def dead(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[DeadAlarm], ActorId | None]: ...

    async def waiting(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[WaitingAlarm], ActorId | None]: ...

    async def retry(self, actor: ActorId) -> None: ...

    async def retry_all(self, tenant: str, actor_type: str) -> tuple[int, bool]: ...


class AllAlarms:
    """`sources()` are all of them, `of(actor)` is the one that has this actor."""

    def __init__(self, sources: Callable[[], Sequence[AlarmSource]], of: Callable[[ActorId], AlarmSource]) -> None:
        self._sources = sources
        self._of = of

    async def dead(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[DeadAlarm], ActorId | None]:
        pages = (source.dead(tenant, actor_type, after, limit) for source in self._sources())
        return merged(await asyncio.gather(*pages), limit)

    async def waiting(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[WaitingAlarm], ActorId | None]:
        pages = (source.waiting(tenant, actor_type, after, limit) for source in self._sources())
        return merged(await asyncio.gather(*pages), limit)

    async def retry(self, actor: ActorId) -> None:
        await self._of(actor).retry(actor)

    async def retry_all(self, tenant: str, actor_type: str) -> tuple[int, bool]:
        """The bound on how many are put back at once holds for each source."""
        done = await asyncio.gather(*(source.retry_all(tenant, actor_type) for source in self._sources()))
        return sum(count for count, _ in done), any(more for _, more in done)


def merged(pages: Sequence[tuple[list[A], ActorId | None]], limit: int) -> tuple[list[A], ActorId | None]:
    """The first `limit` of what all pages say for sure, and where to go on."""
    ends = [following for _, following in pages if following is not None]
    end = min(ends, key=actor_key, default=None)
    found = sorted(chain.from_iterable(page for page, _ in pages), key=lambda one: actor_key(one.actor))
    if end is not None:
        found = [one for one in found if actor_key(one.actor) <= actor_key(end)]
    if len(found) > limit:
        return found[:limit], found[limit - 1].actor
    return found, end


class RemoteAlarms:
    """The alarms of one worker. `ask(kind, question)` asks it; raises TenureError."""

    def __init__(self, ask: Callable[[Kind, Any], Awaitable[Any]]) -> None:
        self._ask = ask

    async def dead(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[DeadAlarm], ActorId | None]:
        rows, following = await self._ask(Kind.ALARMS, ["dead", tenant, actor_type, after, limit])
        return [DeadAlarm(ActorId(*row[0]), *row[1:]) for row in rows], following and ActorId(*following)

    async def waiting(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[WaitingAlarm], ActorId | None]:
        rows, following = await self._ask(Kind.ALARMS, ["waiting", tenant, actor_type, after, limit])
        return [WaitingAlarm(ActorId(*row[0]), *row[1:]) for row in rows], following and ActorId(*following)

    async def retry(self, actor: ActorId) -> None:
        await self._ask(Kind.ALARMS_RETRY, actor)

    async def retry_all(self, tenant: str, actor_type: str) -> tuple[int, bool]:
        count, more = await self._ask(Kind.ALARMS_RETRY, [tenant, actor_type])
        return count, more


def answering(source: AlarmSource) -> Mapping[int, Answering]:
    """What a worker answers to `RemoteAlarms`."""
    return {Kind.ALARMS: partial(_list, source), Kind.ALARMS_RETRY: partial(_retry, source)}


async def _list(source: AlarmSource, question: Any) -> Any:
    state, tenant, actor_type, after, limit = question
    listed = source.dead if state == "dead" else source.waiting
    try:
        return await listed(tenant, actor_type, after and ActorId(*after), limit)
    except OSError as error:
        raise Unavailable("The host could not read its alarms. Try again in a moment.") from error


async def _retry(source: AlarmSource, question: Any) -> Any:
    if len(question) == 2:
        return await source.retry_all(*question)
    await source.retry(ActorId(*question))
    return None
