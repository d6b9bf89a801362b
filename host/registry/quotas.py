"""The quotas of tenants: those that the host was started with, and what its operator set for one tenant.

What serves gets other quotas as it gets a new version, by the same way as a new secret: no request fails because of it,
and an actor starts afresh when its turn has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from host.model.errors import QuotaReached, UsageError
from host.model.limits import Limits, MiB
from host.model.quotas import DEFAULTS, Quotas, Value, checked, merged
from host.registry import store
from host.registry.accounts import Accounts
from host.registry.changes import Changes

HOSTS_OWN = "default"
"""In place of a value: what the host was started with."""


class TenantQuotas:
    """One per registry. `renew` lets what serves have a tenant's new quotas."""

    def __init__(
        self,
        kept: store.Store,
        changes: Changes,
        accounts: Accounts,
        limits: Limits,
        renew: Callable[[str], Awaitable[None]],
        defaults: Quotas = DEFAULTS,
    ) -> None:
        self.defaults = defaults
        self._store = kept
        self._changes = changes
        self._accounts = accounts
        self._limits = limits
        self._renew = renew

    def set_for(self, tenant: str) -> Mapping[str, Value]:
        """What was set for this tenant. Raises NotFound."""
        return self._accounts.tenant(tenant).quotas

    def of(self, tenant: str) -> Quotas:
        """Raises NotFound."""
        return merged(self.defaults, self.set_for(tenant))

    def limits_of(self, tenant: str) -> Limits:
        """What one call of the tenant may use. Raises NotFound."""
        return replace(self._limits, memory_bytes_max=int(self.of(tenant).memory_mb * MiB))

    def check(self, tenant: str, name: str, wanted: int) -> None:
        """Raises QuotaReached when the tenant may not have so many; NotFound."""
        most = getattr(self.of(tenant), name)
        if wanted > most:
            what = name.replace("_", " ")
            raise QuotaReached(
                f"You would have {wanted} {what}, and your quota is {most}. Delete what you do not need, or ask the "
                "host's operator for more."
            )

    async def change(self, tenant: str, given: Mapping[str, object]) -> Quotas:
        """Set those that are given, None: no quota of its own, "default": what the host has. All of the host keeps to
        them when this returns. Raises NotFound, UsageError, Unavailable, StorageBroken.
        """
        try:
            values = {name: checked(name, value) for name, value in given.items() if value != HOSTS_OWN}
            for name in given:
                if name not in values:
                    checked(name, getattr(self.defaults, name, None))
        except ValueError as error:
            raise UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None

        async def change() -> Quotas:
            self._accounts.check_there(tenant)
            record = self._accounts.tenant(tenant)
            kept = {name: value for name, value in record.quotas.items() if name not in given}
            await self._accounts.put(replace(record, quotas=MappingProxyType({**kept, **values})))
            await self._renew(tenant)
            return self.of(tenant)

        return await self._changes.run(change())
