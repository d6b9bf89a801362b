"""A tenant's actors as its people see them: which there are, what each holds, and changing that by hand.

Reads show what is committed, and durable by the time they return; they go on in a thread, a bounded number of records
each. Changes are edits: each takes its place among the actor's turns, is one commit, and drops the activation first, so
that the next turn starts from what is stored. They need no function that exports the class: what one has left behind
can be looked at and removed, and the state of an actor whose version is in quarantine can be mended.

All of it is of one shard; `supervisor.actors` puts the shards together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from host.actors.directory import Directory
from host.actors.ports import Answer
from host.actors.transaction import Transaction
from host.actors.turn import Edit, EditWork
from host.model.errors import ActorError, ActorOutputGateError, Conflict, NotFound, Unavailable
from host.model.ids import ActorId
from host.storage import keys
from host.storage.ports import Write
from host.storage.records import ActorRecord, decode_actor_record

COUNTED_MAX = 10_000
"""Actors of one type that are counted."""
PAGE_BYTES_MAX = 4 << 20
"""Of values, on one page; a page has one at least."""
_CHUNK = 500

T = TypeVar("T")


class ActorSummary(NamedTuple):
    """`used_ms`: when it last had a turn, to ten minutes; None if that was never noted. Times are ms since 1970."""

    actor: ActorId
    bytes_used: int
    created_ms: int
    used_ms: int | None
    alarm_ms: int | None


class TypeSummary(NamedTuple):
    """`more`: there are more actors than were counted."""

    type: str
    actors: int
    bytes_used: int
    more: bool


class Imported(NamedTuple):
    """What an import writes of one actor: pairs of key and value; of its alarms only one is there, or none.

    `first`: it takes the place of whatever is there, else it adds to it. `dead`: the dead alarm's stored form.
    """

    pairs: list[tuple[str, str]]
    first: bool
    created_ms: int
    alarm_ms: int | None
    dead: str | None


class ActorTools:
    """One per shard; it keeps nothing. Methods raise NotFound, Conflict, UsageError, Unavailable, StorageBroken."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._engine = directory.engine

    # --- looking ------------------------------------------------------------------------------------------------------

    async def types(self, tenant: str) -> list[TypeSummary]:
        """In order of their name."""
        return await self._read(lambda: self._types(tenant))

    async def listed(
        self, tenant: str, actor_type: str | None, beginning: str, after: ActorId | None, limit: int
    ) -> tuple[list[ActorSummary], ActorId | None]:
        """In order of (type, name): those whose name begins so, which needs a type. The second is where to go on."""
        start, end = keys.actors_range(tenant, actor_type)
        if actor_type is not None and beginning:
            start, end = keys.actors_named(tenant, actor_type, beginning)
        if after is not None:
            start = max(start, keys.actors_after(after))

        def read() -> tuple[list[ActorSummary], ActorId | None]:
            found = self._engine.scan(start, end, limit=limit + 1)
            page = [self._summary(keys.decode_actor(key), value) for key, value in found[:limit]]
            return page, page[-1].actor if len(found) > limit else None

        return await self._read(read)

    async def inspect(self, actor: ActorId) -> dict[str, Any]:
        """Its summary, dead alarm, and what it is doing now."""

        def read() -> tuple[ActorSummary, Any]:
            record, dead = self._engine.get(keys.actor_key(actor)), self._engine.get(keys.dead_alarm_key(actor))
            if record is None and dead is None:
                raise unknown(actor)
            summary = self._summary(actor, record if record is not None else ActorRecord().encode())
            return summary, None if dead is None else json.loads(dead)

        summary, dead = await self._read(read)
        there = self._directory.find(actor)
        return {
            "summary": summary,
            "dead_alarm": dead,
            "in_memory": there is not None and there.activation is not None,
            "busy": there is not None and there.busy,
            "waiting": 0 if there is None else there.waiting,
        }

    async def keys(
        self, actor: ActorId, beginning: str, after: str | None, limit: int
    ) -> tuple[list[tuple[str, str]], str | None]:
        """Keys that begin so with their values, in order of their UTF-8, and the key to go on after."""
        prefix = keys.state_prefix(actor)
        start, end = keys.under(prefix + beginning.encode())
        if after is not None:
            start = max(start, prefix + after.encode() + b"\x00")

        def read() -> tuple[list[tuple[str, str]], str | None]:
            self._check_there(actor)
            page: list[tuple[str, str]] = []
            size, at = 0, start
            while chunk := self._engine.scan(at, end, limit=min(limit + 1 - len(page), 64)):
                for key, value in chunk:
                    if len(page) == limit or (page and size + len(value) > PAGE_BYTES_MAX):
                        return page, page[-1][0]
                    page.append((key[len(prefix) :].decode(), value.decode()))
                    size += len(value)
                at = chunk[-1][0] + b"\x00"
            return page, None

        return await self._read(read)

    async def get(self, actor: ActorId, key: str) -> str:
        """The value of a key."""

        def read() -> str:
            value = self._engine.get(keys.state_prefix(actor) + key.encode())
            if value is None:
                self._check_there(actor)
                raise unknown_key(actor, key)
            return value.decode()

        return await self._read(read)

    async def there(self, actors: list[ActorId]) -> list[ActorId]:
        """Those of them that are there."""
        return await self._read(lambda: [actor for actor in actors if self._is_there(actor)])

    # --- changing -----------------------------------------------------------------------------------------------------

    async def put(self, actor: ActorId, key: str, value: str) -> None:
        """Of an actor that is there. Durable when this returns, as all that follows."""

        def work(storage: Transaction, _record: ActorRecord) -> list[Write]:
            self._check_there(actor)
            storage.put(0, key.encode(), value.encode())
            return []

        await self._edit(actor, work)

    async def delete_key(self, actor: ActorId, key: str) -> None:
        def work(storage: Transaction, _record: ActorRecord) -> list[Write]:
            self._check_there(actor)
            if not storage.delete(0, key.encode()):
                raise unknown_key(actor, key)
            return []

        await self._edit(actor, work)

    async def delete(self, actor: ActorId) -> None:
        """With all it has stored, its alarm and its dead alarm."""

        def work(storage: Transaction, _record: ActorRecord) -> list[Write]:
            self._check_there(actor)
            storage.delete_all(0)
            storage.set_alarm(None)
            own = (keys.actor_key(actor), keys.actor_use_key(actor), keys.dead_alarm_key(actor))
            return [(key, None) for key in own]

        await self._edit(actor, work, erases=True)

    async def restore(self, actor: ActorId, part: Imported, replace: bool) -> None:
        """Write what an import has of one actor. A part that is not the first is of an actor too large for one turn.

        Raises Conflict when the actor is there and not to be replaced.
        """

        def work(storage: Transaction, _record: ActorRecord) -> list[Write]:
            if part.first:
                if not replace and self._is_there(actor):
                    raise Conflict(f"{shown(actor)} is here already. Import it with replace, or delete it first.")
                storage.delete_all(0)
                storage.created(part.created_ms)
            for key, value in part.pairs:
                storage.put(0, key.encode(), value.encode())
            if not part.first:
                return []
            storage.set_alarm(part.alarm_ms)
            return [] if part.dead is None else [(keys.dead_alarm_key(actor), part.dead.encode())]

        await self._edit(actor, work)

    async def _edit(self, actor: ActorId, work: EditWork, *, erases: bool = False) -> None:
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            if not done.done():  # else the one who asked has gone
                done.set_result(answer)

        turn = Edit(work, reply, erases=erases)
        try:
            self._directory.edit(actor, turn)
        except (OSError, ValueError) as error:
            raise Unavailable("The host could not read the actor. Try again in a moment.") from error
        answer = await done
        if turn.refusal is not None:
            raise turn.refusal
        if isinstance(answer, ActorOutputGateError):
            raise Unavailable("Whether this was kept is unknown until the host restarts: its storage failed.")
        if isinstance(answer, ActorError):
            raise Unavailable(f"The host cannot do it now: {answer.detail}.")

    # --- within -------------------------------------------------------------------------------------------------------

    async def _read(self, read: Callable[[], T]) -> T:
        try:
            found = await asyncio.to_thread(read)
        except (OSError, ValueError) as error:
            raise Unavailable("The host could not read its actors. Try again in a moment.") from error
        await self._directory.committer.drain()  # what was read may not be durable yet
        return found

    def _types(self, tenant: str) -> list[TypeSummary]:
        start, end = keys.actors_range(tenant)
        found: list[TypeSummary] = []
        while first := self._engine.scan(start, end, limit=1):
            actor_type = keys.decode_actor(first[0][0]).type
            found.append(self._counted(tenant, actor_type))
            start = keys.actors_range(tenant, actor_type)[1]
        return found

    def _counted(self, tenant: str, actor_type: str) -> TypeSummary:
        start, end = keys.actors_range(tenant, actor_type)
        count = size = 0
        while chunk := self._engine.scan(start, end, limit=_CHUNK):
            count += len(chunk)
            size += sum(decode_actor_record(value).bytes_used for _, value in chunk)
            if count >= COUNTED_MAX:
                return TypeSummary(actor_type, count, size, True)
            start = chunk[-1][0] + b"\x00"
        return TypeSummary(actor_type, count, size, False)

    def _summary(self, actor: ActorId, value: bytes) -> ActorSummary:
        record = decode_actor_record(value)
        used = self._engine.get(keys.actor_use_key(actor))
        used_ms = None if used is None else int(used)
        return ActorSummary(actor, record.bytes_used, record.created_ms, used_ms, record.alarm_ms)

    def _is_there(self, actor: ActorId) -> bool:
        own = (keys.actor_key(actor), keys.dead_alarm_key(actor))
        return any(self._engine.get(key) is not None for key in own)

    def _check_there(self, actor: ActorId) -> None:
        if not self._is_there(actor):
            raise unknown(actor)


def shown(actor: ActorId) -> str:
    return f"{actor.type[:80]} {actor.name[:80]!r}"


def unknown(actor: ActorId) -> NotFound:
    return NotFound(f"There is no actor {shown(actor)}. List yours with `tenure actors list {actor.type[:80]}`.")


def unknown_key(actor: ActorId, key: str) -> NotFound:
    return NotFound(f"{shown(actor)} has no key {key[:80]!r}. `tenure actors inspect` shows those it has.")
