"""/v1/usage and /v1/tenants/{tenant}/quotas: what a tenant may use, what it uses now, and what it has used by day."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Input, takes
from host.admin.services import services
from host.admin.shapes import Count, Over
from host.model.errors import Unavailable, UsageError
from host.registry.usage import DAYS_KEPT
from host.supervisor.usage import AllUsage, Shown

DAYS_DEFAULT = 7

blueprint = Blueprint("quotas", __name__)


class DaysQuery(Input):
    days: Annotated[int, Meta(ge=1, le=DAYS_KEPT, description="How far back.")] = DAYS_DEFAULT


NewQuota = float | Literal["default"] | None | UnsetType


class QuotaChanges(Input):
    """A number, null for none, or "default" for what the host was started with. What is left out stays."""

    functions: NewQuota = UNSET
    versions: NewQuota = UNSET
    actor_types: NewQuota = UNSET
    memory_mb: NewQuota = UNSET
    storage_mb: NewQuota = UNSET
    activations: NewQuota = UNSET
    cpu_ms_per_minute: NewQuota = UNSET
    requests_per_second: NewQuota = UNSET
    outbound_per_minute: NewQuota = UNSET


class Quota(TypedDict):
    """`set`: the operator set it for this tenant; of a function's, the manifest of the version that serves did."""

    name: str
    limit: Annotated[float | None, Meta(description="null: none but what the host can do.")]
    set: bool
    used: Annotated[float | None, Meta(description="Now; null for what is not counted.")]


class QuotaList(TypedDict):
    quotas: list[Quota]
    counted: Annotated[bool, Meta(description="Not while storage is counted after a start of the host.")]


class DayOfUse(TypedDict):
    """`turns` are those of actors, `outbound` are requests to the outside."""

    date: Annotated[str, Meta(description="In UTC.", extra_json_schema={"format": "date"})]
    requests: Count
    turns: Count
    cpu_ms: float
    bytes_in: Count
    bytes_out: Count
    outbound: Count
    over: Over


class Used(QuotaList):
    days: Annotated[list[DayOfUse], Meta(description="The latest first; those without any use are left out.")]


@blueprint.get("/usage")
@takes()
async def get_usage(query: DaysQuery) -> Used:
    """Show your quotas, what you use of each now, and what you have used by day."""
    return await _used(caller().tenant, query)


@blueprint.get("/functions/<ref>/usage")
@takes()
async def get_function_usage(ref: str, query: DaysQuery) -> Used:
    """Show the quotas that a function may lower for itself, what it uses of each now, and what it has used by day."""
    function = services().registry.function(caller().tenant, ref)
    quotas = _listed(*await _usage().quotas_of(function))
    return {**quotas, "days": _days(function.tenant, query, function.id)}


@blueprint.get("/tenants/<tenant>/usage")
@takes()
async def get_tenant_usage(tenant: str, query: DaysQuery) -> Used:
    """Show a tenant's quotas, what it uses of each now, and what it has used by day."""
    return await _used(tenant, query)


@blueprint.get("/tenants/<tenant>/quotas")
async def get_quotas(tenant: str) -> QuotaList:
    """Show a tenant's quotas and what it uses of each now."""
    return await _quotas(tenant)


@blueprint.patch("/tenants/<tenant>/quotas")
@takes()
async def change_quotas(tenant: str, body: QuotaChanges) -> QuotaList:
    """Set some of a tenant's quotas. All of the host keeps to them when this answers."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    if not given:
        raise UsageError(f"The body has to name a quota. There are: {', '.join(QuotaChanges.__struct_fields__)}.")
    await services().registry.quotas.change(tenant, given)
    return await _quotas(tenant)


def _usage() -> AllUsage:
    usage = services().usage
    if usage is None:
        raise Unavailable("This host does not meter what is used.")
    return usage


async def _used(tenant: str, query: DaysQuery) -> Used:
    return {**await _quotas(tenant), "days": _days(tenant, query)}


async def _quotas(tenant: str) -> QuotaList:
    return _listed(*await _usage().quotas(tenant))


def _listed(shown: list[Shown], counted: bool) -> QuotaList:
    return {"quotas": [cast(Quota, quota._asdict()) for quota in shown], "counted": counted}


def _days(tenant: str, query: DaysQuery, function_id: str | None = None) -> list[DayOfUse]:
    usage = _usage()
    try:
        found = list(usage.days(tenant, query.days, function_id))
    except OSError as error:
        raise Unavailable("The host could not read what was used. Try again in a moment.") from error
    return [cast(DayOfUse, {"date": date, **use.to_json()}) for date, use in found]
