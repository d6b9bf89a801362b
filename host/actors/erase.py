"""Removing all that a tenant's actors have stored: state, records, alarms, dead alarms.

It is for a tenant that nothing serves any more, so no new turn starts; those under way end first, and their activations
go. A turn's last write, or an alarm that is moved meanwhile, may still come in behind the one that removes: so it looks
again until a look finds nothing. Every step can be taken twice, so a crash costs nothing but another start.
"""

from __future__ import annotations

import asyncio

from host.actors.directory import Directory
from host.model.errors import Unavailable
from host.model.ids import ActorId
from host.storage import keys
from host.storage.ports import Write
from host.storage.records import ActorRecord, decode_actor_record

KEYS_AT_ONCE = 500
"""Removed in one batch; between batches the loop gets its turn."""
LOOK_S = 0.05
"""How often it looks whether the turns under way have ended. Their limits see to it that they do."""


class TenantState:
    """One per process; it keeps nothing."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._engine = directory.engine

    async def erase(self, tenant: str) -> None:
        """Nothing of the tenant is in memory or on disk when this returns. Raises Unavailable, StorageBroken."""
        directory = self._directory
        try:
            while not await self._empty(tenant):
                if directory.stopping:
                    raise Unavailable("The host is stopping. It goes on with this when it is back.")
                for start, end in (keys.actors_range(tenant), keys.dead_alarms_range(tenant)):
                    while found := self._engine.scan(start, end, limit=KEYS_AT_ONCE):
                        for key, _ in found:
                            await self._erase_actor(keys.decode_actor(key))
                directory.committer.flush()
                await directory.committer.drain()
        except (OSError, ValueError) as error:
            raise Unavailable("The host could not remove what the tenant's actors stored. Try again.") from error

    async def _empty(self, tenant: str) -> bool:
        """False if there is something to remove. Returns once none of the tenant's actors is in memory."""
        while not self._directory.dismiss(tenant):
            if self._directory.stopping:
                return False
            await asyncio.sleep(LOOK_S)
        ranges = (keys.actors_range(tenant), keys.dead_alarms_range(tenant))
        return not any(self._engine.scan(start, end, limit=1) for start, end in ranges)

    async def _erase_actor(self, actor: ActorId) -> None:
        """The state first: as long as something is left, the actor's record says that there was an actor."""
        write = self._directory.committer.write
        start, end = keys.state_range(actor)
        while found := self._engine.scan(start, end, limit=KEYS_AT_ONCE):
            write([(key, None) for key, _ in found])
            await asyncio.sleep(0)
        own = (keys.actor_key(actor), keys.actor_use_key(actor), keys.dead_alarm_key(actor))
        drops: list[Write] = [(key, None) for key in own]
        record = self._engine.get(keys.actor_key(actor))
        found_record = decode_actor_record(record) if record is not None else ActorRecord()
        if found_record.alarm_ms is not None:
            drops.append((keys.alarm_key(found_record.alarm_ms, actor), None))
        write(drops)
        self._directory.grew(actor, -found_record.bytes_used)
        await asyncio.sleep(0)
