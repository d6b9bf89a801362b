"""A tenant's actors of all shards as one: what `actors.tools` does in the shard of an actor, asked from elsewhere.

A question names its shard; the worker that serves the shard answers it. What concerns all of a tenant's actors is asked
of every shard and put together here; while one of them cannot answer, nobody can. A call of an actor is sent as workers
send theirs, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from host.actors.ports import Answer
from host.actors.tools import ActorSummary, ActorTools, Imported, TypeSummary
from host.actors.turn import Turn
from host.cluster.directory import UNKNOWN
from host.cluster.kinds import Kind
from host.cluster.link import LinkError, LinkRefused
from host.cluster.shard import Shard
from host.cluster.wire import decode_answer, encode_call
from host.model.errors import ActorCrashedError, TooLarge, Unavailable
from host.model.ids import ActorId
from host.storage.layout import shard_of
from host.supervisor.alarms import merged
from host.supervisor.asking import NO_ANSWER, Answering

Ask = Callable[[int, Any], Awaitable[Any]]
"""Asks the worker of a shard a question of Kind.ACTORS. Raises TenureError."""

Call = Callable[[int, bytes], Awaitable[bytes]]
"""Sends a call to the worker of a shard. Raises LinkError, Unavailable."""


class AllActors:
    """On a data folder of `shards` shards. Methods raise as those of `actors.tools.ActorTools`."""

    def __init__(self, shards: int, ask: Ask, call: Call) -> None:
        self._shards = shards
        self._ask = ask
        self._call = call

    async def types(self, tenant: str) -> list[TypeSummary]:
        """Those that have actors, in order of their name."""
        total: dict[str, TypeSummary] = {}
        for found in await self._ask_all("types", tenant):
            for one in map(_type_summary, found):
                before = total.get(one.type, TypeSummary(one.type, 0, 0, False))
                actors, size = before.actors + one.actors, before.bytes_used + one.bytes_used
                total[one.type] = TypeSummary(one.type, actors, size, before.more or one.more)
        return [total[name] for name in sorted(total, key=str.encode)]

    async def listed(
        self, tenant: str, actor_type: str | None, beginning: str, after: ActorId | None, limit: int
    ) -> tuple[list[ActorSummary], ActorId | None]:
        answers = await self._ask_all("listed", tenant, actor_type, beginning, after, limit)
        pages = [(list(map(_summary, rows)), following and ActorId(*following)) for rows, following in answers]
        return merged(pages, limit)

    async def inspect(self, actor: ActorId) -> dict[str, Any]:
        found: dict[str, Any] = await self._of(actor, "inspect", actor)
        return {**found, "summary": _summary(found["summary"])}

    async def keys(
        self, actor: ActorId, beginning: str, after: str | None, limit: int
    ) -> tuple[list[tuple[str, str]], str | None]:
        page, following = await self._of(actor, "keys", actor, beginning, after, limit)
        return [(key, value) for key, value in page], following

    async def get(self, actor: ActorId, key: str) -> str:
        return str(await self._of(actor, "get", actor, key))

    async def put(self, actor: ActorId, key: str, value: str) -> None:
        await self._of(actor, "put", actor, key, value)

    async def delete_key(self, actor: ActorId, key: str) -> None:
        await self._of(actor, "delete_key", actor, key)

    async def delete(self, actor: ActorId) -> None:
        await self._of(actor, "delete", actor)

    async def restore(self, actor: ActorId, part: Imported, replace: bool) -> None:
        await self._of(actor, "restore", actor, part, replace)

    async def there(self, actors: Sequence[ActorId]) -> list[ActorId]:
        """Those of them that are there."""
        mine: list[list[ActorId]] = [[] for _ in range(self._shards)]
        for actor in actors:
            mine[shard_of(actor, self._shards)].append(actor)
        found = [await self._ask(shard, ["there", asked]) for shard, asked in enumerate(mine) if asked]
        return [ActorId(*one) for part in found for one in part]

    async def export(self, tenant: str, actor: ActorId | None) -> AsyncIterator[list[str]]:
        """Lines of `actors.exports`, in pages. All shards begin before the first line comes."""
        shards = range(self._shards) if actor is None else [shard_of(actor, self._shards)]
        begun: dict[int, str] = {}
        try:
            for shard in shards:
                begun[shard] = await self._ask(shard, ["begin_export", tenant, actor])
            for shard in shards:
                while page := await self._ask(shard, ["more_of_export", begun[shard]]):
                    yield page
                del begun[shard]
        finally:
            ends = (self._ask(shard, ["end_export", identifier]) for shard, identifier in begun.items())
            await asyncio.gather(*ends, return_exceptions=True)

    async def call(self, actor: ActorId, turn: Turn) -> Answer:
        """The answer to a call, which is made once. `turn.reply` is not used. Raises Unavailable, TooLarge."""
        try:
            payload = encode_call(actor, turn, 0)
        except ValueError as error:
            raise TooLarge("This call cannot be sent within the host: it is too large.") from error
        try:
            return decode_answer(await self._call(shard_of(actor, self._shards), payload))
        except LinkRefused as error:
            raise Unavailable(NO_ANSWER) from error
        except (LinkError, ValueError):
            return ActorCrashedError(UNKNOWN)

    async def _of(self, actor: ActorId, *question: Any) -> Any:
        return await self._ask(shard_of(actor, self._shards), question)

    async def _ask_all(self, *question: Any) -> list[Any]:
        return await asyncio.gather(*(self._ask(shard, question) for shard in range(self._shards)))


class ShardActors:
    """What a worker answers to `AllActors`: `shard_at` gives a shard that it serves, or None."""

    def __init__(self, shard_at: Callable[[int], Shard | None]) -> None:
        self._shard_at = shard_at

    async def answer(self, question: Any) -> Any:
        number, (operation, *arguments) = question
        shard = self._shard_at(number)
        if shard is None:
            raise Unavailable(NO_ANSWER)
        return await _OPERATIONS[operation](shard, *arguments)

    def answering(self) -> Mapping[int, Answering]:
        return {Kind.ACTORS: self.answer}


def _of_tenant(operation: str) -> Callable[..., Awaitable[Any]]:
    async def asked(shard: Shard, *arguments: Any) -> Any:
        return await getattr(ActorTools(shard.directory), operation)(*arguments)

    return asked


def _of_actor(operation: str) -> Callable[..., Awaitable[Any]]:
    async def asked(shard: Shard, actor: Sequence[str], *arguments: Any) -> Any:
        return await getattr(ActorTools(shard.directory), operation)(ActorId(*actor), *arguments)

    return asked


async def _listed(
    shard: Shard, tenant: str, actor_type: str | None, beginning: str, after: Sequence[str] | None, limit: int
) -> Any:
    tools = ActorTools(shard.directory)
    return await tools.listed(tenant, actor_type, beginning, ActorId(*after) if after else None, limit)


async def _restore(shard: Shard, actor: Sequence[str], part: Sequence[Any], replace: bool) -> None:
    await ActorTools(shard.directory).restore(ActorId(*actor), Imported(*part), replace)


async def _there(shard: Shard, actors: Sequence[Sequence[str]]) -> list[ActorId]:
    return await ActorTools(shard.directory).there([ActorId(*actor) for actor in actors])


async def _begin_export(shard: Shard, tenant: str, actor: Sequence[str] | None) -> str:
    await shard.committer.drain()
    return shard.exports.begin(tenant, ActorId(*actor) if actor else None)


async def _more_of_export(shard: Shard, identifier: str) -> list[str]:
    return await shard.exports.more(identifier)


async def _end_export(shard: Shard, identifier: str) -> None:
    shard.exports.end(identifier)


_OPERATIONS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "types": _of_tenant("types"),
    "listed": _listed,
    **{name: _of_actor(name) for name in ("inspect", "keys", "get", "put", "delete_key", "delete")},
    "restore": _restore,
    "there": _there,
    "begin_export": _begin_export,
    "more_of_export": _more_of_export,
    "end_export": _end_export,
}


def _summary(row: Sequence[Any]) -> ActorSummary:
    return ActorSummary(ActorId(*row[0]), *row[1:])


def _type_summary(row: Sequence[Any]) -> TypeSummary:
    return TypeSummary(*row)
