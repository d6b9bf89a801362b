"""The secrets of tenants: texts that a tenant's functions read under the names that their manifests bind.

A value is stored sealed (`sealing`) and is never shown again: there is no way from here to a person. It leaves only in
the `Version` of a function that binds it. Nothing here logs, and no error names a value.

Invariants: every stored secret opens with a key of the ring, or the host does not start; after a rotation, and after
every start, all of them are sealed with the ring's first key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from host.model.clock import Clock
from host.model.errors import NotFound, Unavailable, UsageError
from host.model.limits import TenantLimits
from host.model.manifest import SECRET_NAME, Manifest
from host.registry import store
from host.registry.accounts import Accounts
from host.registry.changes import Changes
from host.registry.records import SecretRecord
from host.registry.sealing import KeyRing
from host.storage import keys
from host.telemetry.log import get

SEALED_AT_ONCE = 500
"""Secrets of one batch of a rotation."""

_log = get("registry.secrets")


class Secrets:
    """One per registry, whose `load` comes first. `renew` lets what serves have the new value of a secret."""

    def __init__(
        self,
        kept: store.Store,
        changes: Changes,
        accounts: Accounts,
        ring: KeyRing | None,
        clock: Clock,
        limits: TenantLimits,
        renew: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._store = kept
        self._changes = changes
        self._accounts = accounts
        self._ring = ring
        self._clock = clock
        self._limits = limits
        self._renew = renew
        self._secrets: dict[str, dict[str, SecretRecord]] = {}

    async def load(self) -> None:
        """Read what is stored; finish a rotation that was cut off.

        Raises Unsealable, UnreadableRecord, StorageBroken, Unavailable.
        """
        for secret in self._store.read(SecretRecord):
            self._secrets.setdefault(secret.tenant, {})[secret.name] = secret
            self._open(secret)
        if self._ring is not None and self._ring.count > 1:
            await self._seal_again(self._ring)

    def of_tenant(self, tenant: str) -> list[SecretRecord]:
        """In order of their name."""
        return sorted(self._secrets.get(tenant, {}).values(), key=lambda secret: secret.name)

    def values(self, tenant: str, manifest: Manifest) -> dict[str, str]:
        """Binding -> value, of the bindings whose secret has one."""
        mine = self._secrets.get(tenant, {})
        return {one.binding: self._open(mine[one.name]) for one in manifest.secrets if one.name in mine}

    def warnings(self, tenant: str, manifest: Manifest) -> list[str]:
        """A sentence for each secret that the manifest binds and nobody has stored."""
        mine = self._secrets.get(tenant, {})
        return [
            f"The secret {one.name!r} has no value yet: env.SECRETS.get({one.binding!r}) gives undefined until it is "
            f"stored with `tenure secrets add {one.name}`."
            for one in manifest.secrets
            if one.name not in mine
        ]

    async def put(self, tenant: str, name: str, value: str, by: str = "") -> SecretRecord:
        """Store a value, in place of one that was there. What serves has it when this returns.

        `by` is the label of the key that stores it. Raises UsageError, NotFound, Unavailable, StorageBroken.
        """
        if not SECRET_NAME.fullmatch(name):
            raise UsageError(
                f"{name[:60]!r} cannot be a secret's name. Use at most 128 letters, digits, dots, hyphens and "
                "underscores, beginning with a letter or digit."
            )
        size, most = len(value.encode()), self._limits.secret_bytes_max
        if not 0 < size <= most:
            raise UsageError(f"A secret has 1 to {most:,} bytes; this one has {size:,}.")

        async def change() -> SecretRecord:
            self._accounts.check_there(tenant)
            mine = self._secrets.setdefault(tenant, {})
            if name not in mine and len(mine) >= self._limits.secrets_max:
                raise UsageError(f"You have {self._limits.secrets_max} secrets, the most allowed. Delete one.")
            ring = await self._ready_ring()
            now = self._clock.now()
            key, sealed = ring.seal(value, keys.secret_key(tenant, name))
            created = mine[name].created_ms if name in mine else now
            secret = SecretRecord(tenant, name, key, sealed, created, now, by)
            await self._store.commit([store.put_secret(secret)])
            mine[name] = secret
            await self._renew(tenant, name)
            return secret

        return await self._changes.run(change())

    async def delete(self, tenant: str, name: str) -> None:
        """What serves has it no more when this returns. Raises NotFound, StorageBroken."""

        async def change() -> None:
            secret = self._secrets.get(tenant, {}).get(name)
            if secret is None:
                raise NotFound(f"There is no secret {name[:80]!r}. List yours with `tenure secrets list`.")
            await self._store.commit([store.drop_secret(secret)])
            del self._secrets[tenant][name]
            await self._renew(tenant, name)

        await self._changes.run(change())

    async def delete_all(self, tenant: str) -> None:
        """Of a tenant that has nothing that serves. Raises StorageBroken."""

        async def change() -> None:
            await self._store.commit([store.drop_secret(secret) for secret in self.of_tenant(tenant)])
            self._secrets.pop(tenant, None)

        await self._changes.run(change())

    async def rotate(self) -> int:
        """Seal everything with a new key; how many secrets that were. Raises Conflict, Unavailable, StorageBroken."""

        async def change() -> int:
            ring = await self._ready_ring()
            try:
                await asyncio.to_thread(ring.begin_rotation)
                return await self._seal_again(ring)
            except OSError as error:
                raise _no_key_file() from error

        return await self._changes.run(change())

    async def _seal_again(self, ring: KeyRing) -> int:
        """All old keys open until everything is sealed with the first one, durably."""
        old = [one for mine in self._secrets.values() for one in mine.values() if one.key != ring.current]
        for start in range(0, len(old), SEALED_AT_ONCE):
            fresh = [self._sealed_again(one, ring) for one in old[start : start + SEALED_AT_ONCE]]
            await self._store.commit([store.put_secret(one) for one in fresh])
            self._remember(fresh)
        await asyncio.to_thread(ring.end_rotation)
        _log.info("secrets_sealed_again", count=len(old), key=ring.current)
        return len(old)

    def _sealed_again(self, secret: SecretRecord, ring: KeyRing) -> SecretRecord:
        key, sealed = ring.seal(self._open(secret), keys.secret_key(secret.tenant, secret.name))
        return replace(secret, key=key, sealed=sealed)

    def _remember(self, secrets: Iterable[SecretRecord]) -> None:
        for secret in secrets:
            self._secrets[secret.tenant][secret.name] = secret

    def _open(self, secret: SecretRecord) -> str:
        return self._needed_ring().open(secret.key, secret.sealed, keys.secret_key(secret.tenant, secret.name))

    def _needed_ring(self) -> KeyRing:
        if self._ring is None:
            raise Unavailable("This host has no key to keep secrets with.")
        return self._ring

    async def _ready_ring(self) -> KeyRing:
        ring = self._needed_ring()
        try:
            await asyncio.to_thread(ring.make_first)
        except OSError as error:
            raise _no_key_file() from error
        return ring


def _no_key_file() -> Unavailable:
    return Unavailable("The host could not write the file with the key of its secrets. Tell the host's operator.")
