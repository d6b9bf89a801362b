"""Where the registry's records are kept: read whole at start, written and synced before anybody is told.

Not here: what the records mean (`registry`), their JSON (`records`), the layout of keys (`storage.keys`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from host.model.errors import StorageBroken, Unavailable
from host.registry.ports import Durable
from host.registry.records import (
    ApiKeyRecord,
    DomainRecord,
    FunctionRecord,
    KeptReplyRecord,
    R,
    Record,
    SecretRecord,
    TenantRecord,
    VersionRecord,
    decode,
    encode,
)
from host.storage import keys
from host.storage.ports import Engine, Write

_RANGES: dict[type[Record], keys.Range] = {
    TenantRecord: keys.TENANTS,
    FunctionRecord: keys.FUNCTIONS,
    VersionRecord: keys.VERSIONS,
    ApiKeyRecord: keys.API_KEYS,
    SecretRecord: keys.SECRETS,
    KeptReplyRecord: keys.KEPT_REPLIES,
    DomainRecord: keys.DOMAINS,
}


class UnreadableRecord(Exception):
    """A stored record that this host cannot read: it does not start, rather than serve half of what was shipped."""


def put_tenant(tenant: TenantRecord) -> Write:
    return keys.tenant_key(tenant.id), encode(tenant)


def put_function(function: FunctionRecord) -> Write:
    return keys.function_key(function.tenant, function.id), encode(function)


def put_version(tenant: str, version: VersionRecord) -> Write:
    return keys.version_key(tenant, version.function_id, version.number), encode(version)


def put_api_key(key: ApiKeyRecord) -> Write:
    return keys.api_key_key(bytes.fromhex(key.hash)), encode(key)


def put_api_key_use(key: ApiKeyRecord, used_ms: float) -> Write:
    return keys.api_key_use_key(bytes.fromhex(key.hash)), b"%d" % used_ms


def drop_tenant(tenant: TenantRecord) -> Write:
    return keys.tenant_key(tenant.id), None


def drop_api_key(key: ApiKeyRecord) -> list[Write]:
    """The key and when it was used."""
    name = bytes.fromhex(key.hash)
    return [(keys.api_key_key(name), None), (keys.api_key_use_key(name), None)]


def put_secret(secret: SecretRecord) -> Write:
    return keys.secret_key(secret.tenant, secret.name), encode(secret)


def drop_secret(secret: SecretRecord) -> Write:
    return keys.secret_key(secret.tenant, secret.name), None


def put_kept_reply(reply: KeptReplyRecord) -> Write:
    return keys.kept_reply_key(reply.tenant, bytes.fromhex(reply.id)), encode(reply)


def drop_kept_reply(reply: KeptReplyRecord) -> Write:
    return keys.kept_reply_key(reply.tenant, bytes.fromhex(reply.id)), None


def put_domain(domain: DomainRecord) -> Write:
    return keys.domain_key(domain.tenant, domain.name), encode(domain)


def drop_domain(domain: DomainRecord) -> Write:
    return keys.domain_key(domain.tenant, domain.name), None


def drop_function(function: FunctionRecord) -> Write:
    return keys.function_key(function.tenant, function.id), None


def drop_version(tenant: str, version: VersionRecord) -> Write:
    return keys.version_key(tenant, version.function_id, version.number), None


def read_all(engine: Engine, kind: type[R]) -> list[R]:
    """All records of a kind, in order of their keys. Blocks. Raises UnreadableRecord, OSError."""
    records = []
    for key, value in engine.scan(*_RANGES[kind]):
        try:
            records.append(decode(kind, value))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableRecord(f"The {kind.__name__} at key {key.hex()} cannot be read: {error!r}") from error
    return records


class Store:
    """Reads through `engine`, writes through `durable`."""

    def __init__(self, engine: Engine, durable: Durable) -> None:
        self._engine = engine
        self._durable = durable

    def read(self, kind: type[R]) -> list[R]:
        """All records of a kind, in order of their keys. Blocks. Raises UnreadableRecord."""
        return read_all(self._engine, kind)

    def api_key_uses(self) -> dict[str, float]:
        """When each key was last used, by its hash. Blocks."""
        start, end = keys.API_KEY_USES
        return {key[1:].hex(): float(value) for key, value in self._engine.scan(start, end)}

    def note(self, write: Write) -> None:
        """Write something that may be lost: it is durable whenever the next commit is. Never raises."""
        with suppress(OSError, StorageBroken):
            self._durable.write([write])

    async def commit(self, writes: Iterable[Write]) -> None:
        """Write all of `writes` or nothing; returns once they are durable. Raises StorageBroken, Unavailable."""
        try:
            seq = self._durable.write(list(writes))
        except OSError as error:
            raise Unavailable("The host could not store the change, so nothing was changed. Try again.") from error
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: StorageBroken | None) -> None:
            if done.done():
                return  # the one who waited was cancelled
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._durable.when_synced(seq, settle)
        self._durable.flush()
        await done
