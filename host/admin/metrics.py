"""/v1/functions/{id or name}/metrics: how a function's invocations went, and what it takes."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, request

from host.admin.auth import caller
from host.admin.services import services
from host.admin.views import iso
from host.model.errors import Unavailable, UsageError
from host.telemetry.metrics import MINUTES_KEPT

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/functions/<ref>/metrics")
async def get_metrics(ref: str) -> dict[str, Any]:
    """Over the last minutes, in all and minute by minute."""
    admin = services()
    function = admin.registry.function(caller().tenant, ref)
    minutes = _minutes(request.args.get("minutes", str(MINUTES_KEPT)))
    if admin.observed is None or admin.counts is None:
        raise Unavailable("This host counts nothing.")
    shown = admin.observed.metrics.shown(function.id, minutes)
    series = [{"time": iso(one.pop("minute_ms")), **one} for one in shown.pop("series")]
    workers = (await admin.counts()).values()
    instances = {
        kind: sum(said["functions"][kind].get(function.id, 0) for said in workers) for kind in ("actor", "handler")
    }
    version = admin.registry.route(function.label)
    per_instance = 0 if version is None else version.limits.memory_bytes_max
    return {
        "minutes": minutes,
        **shown,
        "instances": instances,
        "memory_bytes_max": sum(instances.values()) * per_instance,
        "series": series,
    }


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:4]) <= MINUTES_KEPT and len(text) < 5):
        raise UsageError(f'"minutes" has to be a number from 1 to {MINUTES_KEPT}.')
    return int(text)
