"""A tenant's alarms as its people see them: those that wait, those that are dead, and putting a dead one back.

An alarm is dead when its handler failed with all its retries (`alarms`). An actor has one alarm, waiting or dead, never
both: setting or deleting an alarm removes the dead one in the turn's own commit (`transaction`), and `retry` removes it
in the write that sets it again. So a dead alarm is always work that nobody has decided about yet.

The index by due time holds the alarms of all tenants: reading one tenant's part of it would cost what the others have
in it, and a place in it could be a name of theirs. Waiting alarms are therefore read from the tenant's own actors, in
order of type and name. Reads go on in a thread, a bounded number of records each.
"""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from host.actors.directory import Directory
from host.model.errors import NotFound, Unavailable
from host.model.ids import ActorId
from host.storage import keys
from host.storage.records import decode_actor_record

RETRIES_PER_REQUEST_MAX = 1_000
ACTORS_PER_PAGE_MAX = 10_000
"""Actors that one page of waiting alarms looks at."""

_CHUNK = 500
_REVIVED_AT_ONCE = 50
"""Between so many the loop gets its turn."""


class DeadAlarm(NamedTuple):
    """`due_ms`: when it should have fired; `failed_ms`: when it was given up. `error` is what a caller of the handler
    would have seen.
    """

    actor: ActorId
    due_ms: int
    failed_ms: int
    error: str
    message: str


class WaitingAlarm(NamedTuple):
    """`retries`: how many times its handler has failed so far."""

    actor: ActorId
    due_ms: int
    retries: int


class TenantAlarms:
    """One per process; it keeps nothing. Pages come with the actor to go on after, or None at the end."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._engine = directory.engine

    async def dead(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[DeadAlarm], ActorId | None]:
        """In order of (type, name). Raises OSError."""
        start, end = keys.dead_alarms_range(tenant, actor_type)
        if after is not None:
            start = max(start, keys.dead_alarms_after(after))
        found = await asyncio.to_thread(self._engine.scan, start, end, limit=limit + 1)
        page = [_dead_alarm(key, value) for key, value in found[:limit]]
        return page, page[-1].actor if len(found) > limit else None

    async def waiting(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[WaitingAlarm], ActorId | None]:
        """In order of (type, name); possibly fewer than `limit` although there are more. Raises OSError."""
        return await asyncio.to_thread(self._waiting, tenant, actor_type, after, limit)

    def _waiting(
        self, tenant: str, actor_type: str | None, after: ActorId | None, limit: int
    ) -> tuple[list[WaitingAlarm], ActorId | None]:
        start, end = keys.actors_range(tenant, actor_type)
        if after is not None:
            start = max(start, keys.actors_after(after))
        page: list[WaitingAlarm] = []
        for _ in range(ACTORS_PER_PAGE_MAX // _CHUNK):
            chunk = self._engine.scan(start, end, limit=_CHUNK)
            for key, value in chunk:
                due_ms = decode_actor_record(value).alarm_ms
                if due_ms is None:
                    continue
                if len(page) == limit:
                    return page, page[-1].actor
                actor = keys.decode_actor(key)
                # None: it fires right now, and its turn's commit came between the two reads
                page.append(WaitingAlarm(actor, due_ms, int(self._engine.get(keys.alarm_key(due_ms, actor)) or 0)))
            if len(chunk) < _CHUNK:
                return page, None
            start = chunk[-1][0] + b"\x00"
        return page, keys.decode_actor(chunk[-1][0])

    async def retry(self, actor: ActorId) -> None:
        """Put the actor's dead alarm back, due now, with no retries counted. Durable when this returns.

        Raises NotFound, Unavailable, StorageBroken.
        """
        if self._engine.get(keys.dead_alarm_key(actor)) is None:
            raise NotFound(
                f"{actor.type} {actor.name[:80]!r} has no dead alarm. See yours with `tenure alarms list --dead`."
            )
        await self._revive([actor])

    async def retry_all(self, tenant: str, actor_type: str) -> tuple[int, bool]:
        """(how many dead alarms of a type were put back, whether there are more). Raises as `retry`."""
        page, following = await self.dead(tenant, actor_type, None, RETRIES_PER_REQUEST_MAX)
        await self._revive([alarm.actor for alarm in page])
        return len(page), following is not None

    async def _revive(self, actors: list[ActorId]) -> None:
        directory = self._directory
        try:
            for count, actor in enumerate(actors, 1):
                if directory.stopping:
                    raise Unavailable("The host is stopping. Try again when it is back.")
                dead = keys.dead_alarm_key(actor)
                if self._engine.get(dead) is not None:  # else it was put back, or replaced, while others were
                    directory.revive_alarm(actor, int(directory.clock.now()))
                if count % _REVIVED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except (OSError, ValueError) as error:
            raise Unavailable("The host could not write the alarm. Try again in a moment.") from error
        finally:
            directory.committer.flush()
        await directory.committer.drain()


def _dead_alarm(key: bytes, value: bytes) -> DeadAlarm:
    stored = json.loads(value)
    return DeadAlarm(keys.decode_actor(key), stored["due_ms"], stored["failed_ms"], stored["error"], stored["message"])
