"""The tenants of a host and their API keys: made, suspended, revoked, deleted.

A tenant is "active" or "suspended"; one that is "deleting" is gone for everybody, and its record is kept only until the
rest of it is removed, so that a crash in between is made good at the next start (`departures`). Keys of a tenant that
is not active are known and may do nothing.

Invariants: ids are unique, names of keys are unique in a tenant; the tenant `default`, which has the operator's keys,
can be neither suspended nor deleted; a key that is revoked is nobody's before the revocation is even on disk.
"""

from __future__ import annotations

from dataclasses import replace

from host.model.clock import Clock
from host.model.errors import Conflict, NotFound, UsageError
from host.model.ids import FUNCTION_NAME
from host.registry import store
from host.registry.auth import ApiKeys, hash_key, new_key
from host.registry.changes import Changes
from host.registry.records import DEFAULT_TENANT, ApiKeyRecord, Role, Scope, TenantRecord, TenantStatus

KEYS_MAX = 100
"""API keys of one tenant."""
KEY_NAME_CHARS_MAX = 64


class Accounts:
    """One per registry, whose `load` comes first."""

    def __init__(self, kept: store.Store, changes: Changes, clock: Clock) -> None:
        self._store = kept
        self._changes = changes
        self._clock = clock
        self._tenants: dict[str, TenantRecord] = {}
        self._keys = ApiKeys(kept, clock)
        self.authenticate = self._keys.authenticate
        """authenticate(key) -> ApiKeyRecord | None, as `ApiKeys` has it."""
        self.find_key = self._keys.find
        """find_key(key) -> ApiKeyRecord | None: as `authenticate`, without counting the key as used."""
        self.last_used_ms = self._keys.last_used_ms
        """last_used_ms(record) -> milliseconds since 1970, or None."""

    async def load(self) -> None:
        """Read what is stored, and see to it that there is the tenant `default`. Raises UnreadableRecord."""
        for tenant in self._store.read(TenantRecord):
            self._tenants[tenant.id] = tenant
        used = self._store.api_key_uses()
        for key in self._store.read(ApiKeyRecord):
            self._keys.add(key, used.get(key.hash))
        if DEFAULT_TENANT not in self._tenants:
            await self._changes.run(self.put(TenantRecord(DEFAULT_TENANT, self._clock.now())))

    # --- tenants ------------------------------------------------------------------------------------------------------

    def tenants(self) -> list[TenantRecord]:
        """In order of their id."""
        return sorted(self._tenants.values(), key=lambda tenant: tenant.id)

    def tenant(self, tenant_id: str) -> TenantRecord:
        """Raises NotFound."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise NotFound(f"There is no tenant {tenant_id[:80]!r}. List them with `tenure admin tenants list`.")
        return tenant

    def is_active(self, tenant_id: str) -> bool:
        tenant = self._tenants.get(tenant_id)
        return tenant is not None and tenant.status == "active"

    def check_there(self, tenant_id: str) -> None:
        """Raises NotFound unless the tenant is there, and not being deleted."""
        if self.tenant(tenant_id).status == "deleting":
            raise NotFound(f"The tenant {tenant_id!r} is being deleted.")

    async def create_tenant(self, tenant_id: str) -> TenantRecord:
        """Raises UsageError (the id), Conflict (it is taken)."""
        if not FUNCTION_NAME.fullmatch(tenant_id):
            raise UsageError(
                f"{tenant_id[:60]!r} cannot be a tenant's id. Use at most 40 lower-case letters, digits and hyphens, "
                "beginning with a letter and not ending with a hyphen."
            )

        async def change() -> TenantRecord:
            if (there := self._tenants.get(tenant_id)) is not None:
                gone = " It is being deleted; wait until that is done." if there.status == "deleting" else ""
                raise Conflict(f"There is a tenant {tenant_id!r} already; choose another id.{gone}")
            return await self.put(TenantRecord(tenant_id, self._clock.now()))

        return await self._changes.run(change())

    async def set_status(self, tenant_id: str, status: TenantStatus) -> TenantRecord:
        """To be called within a change of the registry's. Raises NotFound, Conflict."""
        tenant = self.tenant(tenant_id)
        if tenant.status == status:
            return tenant
        if tenant_id == DEFAULT_TENANT:
            raise Conflict(f"The tenant {tenant_id!r} is the operator's own: it can be neither suspended nor deleted.")
        if tenant.status == "deleting":
            raise Conflict(f"The tenant {tenant_id!r} is being deleted; that cannot be undone.")
        return await self.put(replace(tenant, status=status, status_ms=self._clock.now()))

    async def forget_tenant(self, tenant_id: str) -> None:
        """The last step of a deletion: its keys and its record. Nothing happens when it is gone already."""

        async def change() -> None:
            tenant = self._tenants.get(tenant_id)
            if tenant is None:
                return
            keys = self._keys.of_tenant(tenant_id)
            for key in keys:
                self._keys.remove(key)
            drops = [write for key in keys for write in store.drop_api_key(key)]
            await self._store.commit([*drops, store.drop_tenant(tenant)])
            del self._tenants[tenant_id]

        await self._changes.run(change())

    async def put(self, tenant: TenantRecord) -> TenantRecord:
        """To be called within a change of the registry's."""
        await self._store.commit([store.put_tenant(tenant)])
        self._tenants[tenant.id] = tenant
        return tenant

    # --- keys ---------------------------------------------------------------------------------------------------------

    def keys(self, tenant_id: str) -> list[ApiKeyRecord]:
        """A tenant's keys in the order they were made, expired ones as well."""
        return self._keys.of_tenant(tenant_id)

    def has_operator_key(self) -> bool:
        return bool(self._keys.of_role("operator"))

    async def create_key(
        self,
        tenant: str,
        label: str,
        role: Role = "tenant",
        *,
        scope: Scope = "admin",
        expires_ms: float | None = None,
        key: str | None = None,
    ) -> str:
        """A new API key of a tenant, `key` if one is given. It is returned here and never again.

        Raises NotFound (tenant), Conflict (a key has that name), UsageError (the name, the time, too many keys).
        """
        if not 0 < len(label) <= KEY_NAME_CHARS_MAX or not label.isprintable():
            raise UsageError(f"A key's name has 1 to {KEY_NAME_CHARS_MAX} printable characters.")
        if role == "operator" and tenant != DEFAULT_TENANT:
            raise UsageError(f"An operator's key belongs to the tenant {DEFAULT_TENANT!r}, not to {tenant!r}.")
        key = key or new_key()

        async def change() -> str:
            self.check_there(tenant)
            now, mine = self._clock.now(), self._keys.of_tenant(tenant)
            if expires_ms is not None and expires_ms <= now:
                raise UsageError("A key has to expire in the future.")
            if any(one.label == label for one in mine):
                raise Conflict(f"There is a key named {label!r} already. Choose another name or revoke that one first.")
            if len(mine) >= KEYS_MAX:
                raise UsageError(f"The tenant has {KEYS_MAX} keys, the most allowed. Revoke one that is not needed.")
            record = ApiKeyRecord(hash_key(key), tenant, label, role, now, scope, expires_ms)
            await self._store.commit([store.put_api_key(record)])
            self._keys.add(record)
            return key

        return await self._changes.run(change())

    async def revoke_key(self, tenant: str, key_id: str) -> None:
        """No request is accepted with the key any more.

        Raises NotFound, Conflict: the operator always has a key that may do everything and does not expire.
        """

        async def change() -> None:
            record = next((one for one in self._keys.of_tenant(tenant) if one.id == key_id), None)
            if record is None:
                raise NotFound(f"There is no key {key_id[:80]!r}. List the keys to see their ids.")
            lasting = [one for one in self._keys.of_role("operator") if one.scope == "admin" and one.expires_ms is None]
            if lasting == [record]:
                raise Conflict(
                    "This is the operator's last key with the scope 'admin' that does not expire. Create another first."
                )
            self._keys.remove(record)
            await self._store.commit(store.drop_api_key(record))

        await self._changes.run(change())
