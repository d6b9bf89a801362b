"""The registry's records: immutable values, kept as JSON. A changed record is a new value that replaces the old one.

A record that was written once is read for ever: a field may be added with a default, never renamed or given another
meaning. Fields that this host does not know (written by a newer one) are ignored. Times are milliseconds since 1970.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import orjson

from host.model.keep import Keep
from host.model.manifest import Manifest, manifest_from_json, manifest_to_json

DEFAULT_TENANT = "default"

FunctionStatus = Literal["created", "deploy_ok", "deploy_failed"]
VersionStatus = Literal["compiling", "deploy_ok", "deploy_failed"]
TenantStatus = Literal["active", "suspended", "deleting"]
Role = Literal["operator", "tenant"]
Scope = Literal["read", "deploy", "admin"]

SCOPES: tuple[Scope, ...] = ("read", "deploy", "admin")
"""What a key may do. Each includes those before it: a key that deploys has to see what became of it."""


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """`status_ms` is when it last changed its status. One that is "deleting" is gone but for what is still removed.

    `quotas`: those that its operator has set for it, by name (`model.quotas`).
    """

    id: str
    created_ms: float
    status: TenantStatus = "active"
    status_ms: float | None = None
    quotas: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Share:
    """A version, by its number, and how much of what comes to its function is its own: `weight` of the sum of all."""

    version: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """Version `version` serves since `since_ms`; `by` is the label of the API key that asked for it, "" if unknown.

    `split` is empty unless several versions serve; then it has all of them, and `version` is the heaviest.
    """

    version: int
    since_ms: float
    by: str = ""
    split: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """A function and its current deployment: `serving` is the number of the version that serves, or None.

    `status` and `errors` tell how the last ship ended; a failed one leaves `serving` as it was. `next_number` only
    grows, so a version's number is never used again. `history` are the last deployments, the oldest first.
    `quarantined` is the number of a version that is refused while it serves, because workers died of it. `split` is
    empty unless several versions serve; then it has all of them, and `serving` is the heaviest. `keep` is the rule by
    which its old versions go, None for that of the host.
    """

    id: str
    tenant: str
    name: str
    label: str
    created_ms: float
    actor: bool = False
    status: FunctionStatus = "created"
    serving: int | None = None
    deployed_ms: float | None = None
    errors: tuple[str, ...] = ()
    next_number: int = 1
    history: tuple[Deployment, ...] = ()
    quarantined: int | None = None
    split: tuple[Share, ...] = ()
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version as it was shipped. `size` is that of the component in bytes, `digest` its SHA-256 in hex.

    `actor_types`, `has_handler` and `sdk` are known once it is compiled. `actor_types` are the exported actor classes.
    `by` is the label of the API key that shipped it, "" if unknown.
    """

    function_id: str
    number: int
    status: VersionStatus
    digest: str
    size: int
    created_ms: float
    manifest: Manifest
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    actor_types: tuple[str, ...] = ()
    has_handler: bool = False
    sdk: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key as it is stored: `hash` is the SHA-256 of the key, in hex. The key itself is kept nowhere.

    `role` says whose it is, `scope` how far it goes. A key that was made before there were scopes may do everything.
    """

    hash: str
    tenant: str
    label: str
    role: Role
    created_ms: float
    scope: Scope = "admin"
    expires_ms: float | None = None

    @property
    def id(self) -> str:
        """Names the key to people: the hash's first 12 digits, of no use to anyone who guesses keys."""
        return self.hash[:12]

    def allows(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """A secret as it is stored: `sealed` is its value as `sealing` seals it with the key named `key`.

    `by` is the label of the API key that stored the value.
    """

    tenant: str
    name: str
    key: str
    sealed: str
    created_ms: float
    updated_ms: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """A host name that a tenant claims. `token` is what its TXT record has to hold; `verified_ms` is since when it did,
    None if it was never seen there, or another tenant has shown since that the name is its own.
    """

    tenant: str
    name: str
    token: str
    created_ms: float
    verified_ms: float | None = None


@dataclass(frozen=True, slots=True)
class KeptReplyRecord:
    """A request that was sent with an idempotency key, and what was replied; `replies` says what is in the fields.

    `status` is None while the request is carried out.
    """

    tenant: str
    id: str
    digest: str
    created_ms: float
    status: int | None = None
    content_type: str = ""
    sealed: str = ""


Record = TenantRecord | FunctionRecord | VersionRecord | ApiKeyRecord | SecretRecord | KeptReplyRecord | DomainRecord
R = TypeVar("R", TenantRecord, FunctionRecord, VersionRecord, ApiKeyRecord, SecretRecord, KeptReplyRecord, DomainRecord)


def _shares(stored: Any) -> tuple[Share, ...]:
    return tuple(Share(one["version"], one["weight"]) for one in stored)


def _deployments(stored: Any) -> tuple[Deployment, ...]:
    return tuple(
        Deployment(one["version"], one["since_ms"], one.get("by", ""), _shares(one.get("split", ()))) for one in stored
    )


def _keep(stored: Any) -> Keep | None:
    return None if stored is None else Keep(stored["versions"], stored["days"])


_DECODE: Mapping[str, Callable[[Any], Any]] = {
    "manifest": manifest_from_json,
    "warnings": tuple,
    "errors": tuple,
    "actor_types": tuple,
    "history": _deployments,
    "quotas": MappingProxyType,
    "split": _shares,
    "keep": _keep,
}


def encode(record: Record) -> bytes:
    """Shape: a JSON object with the record's fields by name."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if isinstance(record, VersionRecord):
        fields["manifest"] = manifest_to_json(record.manifest)
    if isinstance(record, TenantRecord):
        fields["quotas"] = dict(record.quotas)
    return orjson.dumps(fields)


def decode(kind: type[R], data: bytes) -> R:
    """The record that `encode` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    stored = orjson.loads(data)
    known = {field.name for field in dataclasses.fields(kind)}
    fields = {name: _DECODE.get(name, _same)(value) for name, value in stored.items() if name in known}
    return kind(**fields)


def _same(value: Any) -> Any:
    return value
