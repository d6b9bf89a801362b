"""What a tenant, or one function, uses of its quotas and has used by day; for the operator the same of any tenant, and
setting its quotas.

A quota that is used up is marked before all else, because something is refused then.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from quart import Blueprint, render_template, request, url_for

from host.dashboard.api import ApiError
from host.dashboard.forms import done, field
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("usage", __name__)

SPANS = (7, 30, 62)
"""Days that are shown."""
NEARLY = 0.8
"""Of a quota: from here on it is marked."""
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "functions": "of all the tenant",
        "versions": "kept of each function",
        "actor_types": "that all its functions export",
        "memory_mb": "memory of an instance, MiB",
        "storage_mb": "what all actors store, MiB",
        "activations": "actors in memory",
        "cpu_ms_per_minute": "CPU time of a minute, ms",
        "requests_per_second": "requests of a second",
        "outbound_per_minute": "requests to the outside of a minute",
    }
)
"""A quota that is not here yet is shown by its name alone."""
MAKE_ROOM = frozenset({"versions", "activations"})
"""Nothing is refused when these are full: the oldest version goes, the actor that was idle longest leaves memory."""


class Gauge(NamedTuple):
    """A quota as it is drawn. `percent` is what is used of it, 0 to 100; None where nothing can be drawn."""

    name: str
    meaning: str
    used: float | None
    limit: float | None
    set: bool
    percent: float | None
    level: str
    word: str


def gauge(quota: Mapping[str, Any]) -> Gauge:
    used, limit = quota["used"], quota["limit"]
    meaning = MEANINGS.get(quota["name"], "")
    if used is None or limit is None:
        return Gauge(quota["name"], meaning, used, limit, quota["set"], None, "", "")
    share = used / limit
    level, word = _mark(quota["name"], share)
    return Gauge(quota["name"], meaning, used, limit, quota["set"], round(min(share, 1.0) * 100, 1), level, word)


def _mark(name: str, share: float) -> tuple[str, str]:
    """(level, word) of what is used of a quota, 1 for all of it."""
    if name in MAKE_ROOM:
        return "", "full" if share >= 1 else ""
    if share > 1:
        return "bad", "over quota"
    if share == 1:
        return "bad", "used up"
    return ("warn", "nearly used up") if share >= NEARLY else ("", "")


@blueprint.get("/usage")
async def usage() -> str:
    """The tenant's own."""
    return await render_template("usage.html", **await _used("/usage"))


@blueprint.get("/functions/<ref>/usage")
async def function(ref: str) -> str:
    """Of the quotas that a function may lower for itself."""
    found, shown = await asyncio.gather(ask("GET", f"/functions/{ref}"), _used(f"/functions/{ref}/usage"))
    return await render_template("function_usage.html", function=found, **shown)


@blueprint.get("/tenants/<tenant>/usage")
async def tenant(tenant: str) -> str:
    return await _tenant_page(tenant)


@blueprint.post("/tenants/<tenant>/quotas")
async def set_quota(tenant: str) -> Reply | tuple[str, int]:
    name, text = await field("quota"), (await field("limit")).strip()
    try:
        await _change(tenant, name, _limit(text))
    except ApiError as error:
        if error.status not in (400, 422):
            raise
        return await _tenant_page(tenant, errors=error.sentences, fields={"quota": name, "limit": text}), error.status
    return done(f"{name} of {tenant} is {text} from now on.", url_for("usage.tenant", tenant=tenant))


@blueprint.post("/tenants/<tenant>/quotas/clear")
async def clear_quota(tenant: str) -> Reply:
    """Back to what the host was started with."""
    name = request.args.get("quota", "")
    await _change(tenant, name, "default")
    return done(f"{name} of {tenant} is the host's own again.", url_for("usage.tenant", tenant=tenant))


async def _change(tenant: str, name: str, value: float | str | None) -> None:
    await ask("PATCH", f"/tenants/{tenant}/quotas", body={name: value})


def _limit(text: str) -> float | None:
    """What a form says. Raises ApiError, as the admin API would."""
    if text.lower() == "none":
        return None
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ApiError(400, [f"“{text[:60]}” is no limit. Write a number, or none for no quota."])
    return value


async def _tenant_page(tenant: str, errors: Iterable[str] = (), fields: Mapping[str, str] | None = None) -> str:
    shown = await _used(f"/tenants/{tenant}/usage")
    return await render_template("tenant_usage.html", tenant=tenant, errors=errors, fields=fields or {}, **shown)


async def _used(path: str) -> dict[str, Any]:
    text = request.args.get("days", "")
    days = int(text) if text in map(str, SPANS) else SPANS[0]
    found = await ask("GET", path, {"days": days})
    gauges = [gauge(quota) for quota in found["quotas"]]
    return {"gauges": gauges, "counted": found["counted"], "by_day": found["days"], "days": days, "spans": SPANS}
