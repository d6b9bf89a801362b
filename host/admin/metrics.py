"""/v1/functions/{id or name}/metrics: how a function's invocations went, and what it takes."""

from __future__ import annotations

from typing import Annotated, cast

from msgspec import Meta
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Input, takes
from host.admin.services import services
from host.admin.shapes import Metrics
from host.admin.views import iso
from host.model.errors import Unavailable
from host.telemetry.metrics import MINUTES_KEPT

blueprint = Blueprint("metrics", __name__)


class MetricsQuery(Input):
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_KEPT, description="How far back.")] = MINUTES_KEPT


@blueprint.get("/functions/<ref>/metrics")
@takes()
async def get_metrics(ref: str, query: MetricsQuery) -> Metrics:
    """Show how a function went in the last minutes, in all and minute by minute."""
    admin = services()
    function = admin.registry.function(caller().tenant, ref)
    if admin.observed is None or admin.counts is None:
        raise Unavailable("This host counts nothing.")
    shown = admin.observed.metrics.shown(function.id, query.minutes)
    series = [{"time": iso(one.pop("minute_ms")), **one} for one in shown.pop("series")]
    workers = (await admin.counts()).values()
    instances = {
        kind: sum(said["functions"][kind].get(function.id, 0) for said in workers) for kind in ("actor", "handler")
    }
    version = admin.registry.route(function.label)
    per_instance = 0 if version is None else version.limits.memory_bytes_max
    found = {
        "minutes": query.minutes,
        **shown,
        "instances": instances,
        "memory_bytes_max": sum(instances.values()) * per_instance,
        "stored_bytes": sum(said["stored"].get(function.id, 0) for said in workers),
        "series": series,
    }
    return cast(Metrics, found)
