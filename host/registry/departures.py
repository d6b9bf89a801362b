"""Deleting a tenant with everything it has.

The first step is the one that counts: the tenant's record says "deleting", durably; nothing of it serves and no key of
it is accepted from then on. What follows only removes, in an order in which every step can be taken twice: what its
actors stored, its functions with their files, its secrets, kept replies, keys, and last the record. A crash in
between is made good by `resume` at the next start, and what fails is tried again after `RETRY_S`; so an id is free
again only when nothing is left under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from host.model.errors import TenureError
from host.registry.ports import ActorData
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.telemetry.log import get

RETRY_S = 2.0

_log = get("registry.departures")


class Departures:
    """One per process. `forget_use(tenant)` removes what was noted of its use."""

    def __init__(
        self,
        registry: Registry,
        publisher: Publisher,
        actor_data: ActorData,
        forget_use: Callable[[str], None] = lambda _tenant: None,
    ) -> None:
        self._registry = registry
        self._publisher = publisher
        self._actor_data = actor_data
        self._forget_use = forget_use
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def resume(self) -> None:
        """Go on with deletions that the last process began. Returns at once."""
        for tenant in self._registry.accounts.tenants():
            if tenant.status == "deleting":
                self._begin(tenant.id)

    async def delete(self, tenant_id: str) -> None:
        """Returns when nothing of the tenant is left; goes on to its end even if the caller is cancelled.

        Raises NotFound, Conflict, Unavailable, StorageBroken; after the last two it is tried again by itself.
        """
        await self._registry.set_tenant_status(tenant_id, "deleting")
        await asyncio.shield(self._begin(tenant_id))

    async def close(self) -> None:
        """Stop; what is not removed yet is removed after the next start."""
        self._closed = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, tenant_id: str) -> asyncio.Task[None]:
        """The deletion that is under way, or a new one."""
        task = self._running.get(tenant_id)
        if task is None:
            task = self._running[tenant_id] = asyncio.create_task(self._remove(tenant_id), name="delete-tenant")
            task.add_done_callback(lambda done: self._ended(tenant_id, done))
        return task

    async def _remove(self, tenant_id: str) -> None:
        registry = self._registry
        await self._actor_data.erase(tenant_id)
        for function in registry.functions(tenant_id):
            await self._publisher.delete_function(tenant_id, function.id)
        await registry.secrets.delete_all(tenant_id)
        await registry.domains.delete_all(tenant_id)
        await registry.replies.delete_all(tenant_id)
        self._forget_use(tenant_id)
        await registry.accounts.forget_tenant(tenant_id)
        _log.info("tenant_deleted", tenant=tenant_id)

    def _ended(self, tenant_id: str, task: asyncio.Task[None]) -> None:
        del self._running[tenant_id]
        if task.cancelled() or (error := task.exception()) is None:
            return
        reason = error.detail if isinstance(error, TenureError) else repr(error)
        _log.error("tenant_not_deleted", tenant=tenant_id, reason=reason)
        if not self._closed:
            task.get_loop().call_later(RETRY_S, self._again, tenant_id)

    def _again(self, tenant_id: str) -> None:
        if not self._closed:
            self._begin(tenant_id)
