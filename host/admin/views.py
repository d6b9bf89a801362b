"""How records look in replies. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from host.actors.tools import ActorSummary
from host.admin.function_shapes import (
    ActorBinding,
    Deployed,
    Deployment,
    Domain,
    Function,
    LimitInEffect,
    ListedVersion,
    Pruned,
    Rule,
    Share,
    Version,
)
from host.admin.paging import cursor_of
from host.admin.services import AdminServices
from host.admin.shapes import Actor, Key, LogLine, Secret, Tenant
from host.model.manifest import LIMIT_KEYS
from host.model.quotas import OF_FUNCTION, of_function
from host.registry.deployments import Deployed as DeployedRecord
from host.registry.deployments import in_quarantine, share_of
from host.registry.domains import RECORD
from host.registry.pruning import Pruned as PrunedVersions
from host.registry.records import (
    ApiKeyRecord,
    DomainRecord,
    FunctionRecord,
    SecretRecord,
    TenantRecord,
    VersionRecord,
)
from host.registry.records import (
    Deployment as DeploymentRecord,
)
from host.registry.registry import Registry
from host.telemetry.segments import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(milliseconds: float) -> str:
    """Such as `2026-05-01T10:00:00.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else iso(milliseconds)


LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: an alarm may be set for a later one, but ISO 8601 has four digits."""


def moment(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else iso(min(milliseconds, LAST_MS))


def actor_json(actor: ActorSummary) -> Actor:
    return {
        "type": actor.actor.type,
        "name": actor.actor.name,
        "size": actor.bytes_used,
        "created_at": moment(actor.created_ms or None),
        "last_used_at": moment(actor.used_ms),
        "alarm_at": moment(actor.alarm_ms),
    }


def function_json(function: FunctionRecord, services: AdminServices) -> Function:
    registry = services.registry
    serving = None if function.serving is None else registry.version(function.id, function.serving)
    return {
        "id": function.id,
        "name": function.name,
        "status": function.status,
        "url": services.url(function.label),
        "actor": function.actor,
        "created_at": iso(function.created_ms),
        "deployed_at": iso_or_none(function.deployed_ms),
        "version": function.serving,
        "split": _split(function),
        "versions": len(registry.versions(function.id)),
        "rule": _rule(function, registry),
        "actors": [] if serving is None else _actors(serving),
        "size": None if serving is None else serving.size,
        "digest": None if serving is None else serving.digest,
        "sdk": None if serving is None else serving.sdk,
        "errors": list(function.errors),
        "unavailable": registry.why_unavailable(function.label),
        "quarantined": bool(in_quarantine(function)),
    }


def version_json(version: VersionRecord, tenant: str, registry: Registry) -> Version:
    manifest = version.manifest
    return {
        "function_id": version.function_id,
        "number": version.number,
        "status": version.status,
        "created_at": iso(version.created_ms),
        "by": version.by,
        "actors": _actors(version),
        "actor_types": list(version.actor_types),
        "handler": version.has_handler,
        "size": version.size,
        "digest": version.digest,
        "sdk": version.sdk,
        "env_vars": dict(manifest.env_vars),
        "secrets": [{"binding": secret.binding, "name": secret.name} for secret in manifest.secrets],
        "limits": _limits(version, tenant, registry),
        "outbound": list(manifest.outbound_allow),
        "domains": list(manifest.domains),
        "warnings": list(version.warnings),
        "errors": list(version.errors),
    }


def listed_version_json(version: VersionRecord, function: FunctionRecord) -> ListedVersion:
    """A version as one line of a list."""
    share = share_of(function, version.number)
    return {
        "number": version.number,
        "status": version.status,
        "created_at": iso(version.created_ms),
        "by": version.by,
        "digest": version.digest,
        "size": version.size,
        "serving": share > 0,
        "share": round(share, 6),
    }


def deployment_json(deployment: DeploymentRecord, end_ms: float | None) -> Deployment:
    """`until` is null for the deployment that serves."""
    return {
        "version": deployment.version,
        "split": _split(deployment),
        "since": iso(deployment.since_ms),
        "until": iso_or_none(end_ms),
        "by": deployment.by,
        "serving": end_ms is None,
    }


def deployed_json(deployed: DeployedRecord) -> Deployed:
    return {**deployment_json(deployed.deployment, None), "warnings": list(deployed.warnings)}


def pruned_json(pruned: PrunedVersions, *, dry_run: bool) -> Pruned:
    return {
        "dry_run": dry_run,
        "pruned": [
            {"number": one.number, "status": one.status, "created_at": iso(one.created_ms), "size": one.size}
            for one in pruned.gone
        ],
        "kept": [{"number": one.number, "why": why} for one, why in pruned.kept],
        "freed": pruned.freed,
    }


def domain_json(domain: DomainRecord) -> Domain:
    return {
        "name": domain.name,
        "verified": domain.verified_ms is not None,
        "record": {"name": RECORD + domain.name, "type": "TXT", "value": domain.token},
        "claimed_at": iso(domain.created_ms),
        "verified_at": iso_or_none(domain.verified_ms),
    }


def log_json(line: Entry) -> LogLine:
    """A line of a function's log. `cursor` is where the next one is asked for."""
    shown = {name: value for name, value in line.items() if name not in ("seq", "time")}
    return cast(LogLine, {"time": iso(line["time"]), **shown, "cursor": cursor_of((line["seq"],))})


def tenant_json(tenant: TenantRecord, registry: Registry) -> Tenant:
    return {
        "id": tenant.id,
        "status": tenant.status,
        "created_at": iso(tenant.created_ms),
        "status_since": iso(tenant.status_ms or tenant.created_ms),
        "functions": len(registry.functions(tenant.id)),
        "keys": len(registry.accounts.keys(tenant.id)),
        "secrets": len(registry.secrets.of_tenant(tenant.id)),
    }


def key_json(key: ApiKeyRecord, last_used_ms: float | None) -> Key:
    """Never with the key itself."""
    return {
        "id": key.id,
        "name": key.label,
        "scope": key.scope,
        "role": key.role,
        "created_at": iso(key.created_ms),
        "expires_at": iso_or_none(key.expires_ms),
        "last_used_at": iso_or_none(last_used_ms),
    }


def secret_json(secret: SecretRecord, registry: Registry) -> Secret:
    """Never with the value. `used_by`: the functions whose serving version binds it."""
    return {
        "name": secret.name,
        "created_at": iso(secret.created_ms),
        "updated_at": iso(secret.updated_ms),
        "by": secret.by,
        "used_by": [
            function.name
            for function in registry.functions(secret.tenant)
            if any(_binds(version, secret.name) for version in registry.serving(function))
        ],
    }


def _binds(version: VersionRecord, secret: str) -> bool:
    return any(bound.name == secret for bound in version.manifest.secrets)


def _rule(function: FunctionRecord, registry: Registry) -> Rule | None:
    keep = registry.rules.of(function)
    if keep is None:
        return None
    return {"keep": keep.versions, "days": keep.days, "set": function.keep is not None}


def _split(of: FunctionRecord | DeploymentRecord) -> list[Share]:
    return [{"version": share.version, "weight": share.weight} for share in of.split]


def _actors(version: VersionRecord) -> list[ActorBinding]:
    return [{"binding": actor.binding, "type": actor.type} for actor in version.manifest.actors]


def _limits(version: VersionRecord, tenant: str, registry: Registry) -> list[LimitInEffect]:
    """In the manifest's names and units. What the tenant may use goes before what the manifest once asked for."""
    manifest, base, quotas = version.manifest, registry.quotas.limits_of(tenant), registry.quotas.of(tenant)
    counting, shown = manifest.apply_limits(base), list[LimitInEffect]()
    for key, (name, scale) in LIMIT_KEYS.items():
        _, lowers = of_function(manifest.limits.get(name), getattr(base, name))
        shown.append({"name": key, "limit": round(getattr(counting, name) * scale, 3), "set": lowers})
    for key in OF_FUNCTION:
        most, lowers = of_function(manifest.quotas.get(key), getattr(quotas, key))
        shown.append({"name": key, "limit": most, "set": lowers})
    return shown
