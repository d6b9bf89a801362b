"""/v1/functions/{id or name}/versions: ship a bundle, and see what became of it."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller, require_key
from host.admin.requests import receive_bundle
from host.admin.services import services
from host.admin.views import version_json

blueprint = Blueprint("versions", __name__)
blueprint.before_request(require_key)


@blueprint.post("/functions/<ref>/versions")
async def ship(ref: str) -> tuple[dict[str, Any], int]:
    """The body is the bundle. 202: the version is numbered, and compiled in the background."""
    tenant = caller().tenant
    function = services().registry.function(tenant, ref)  # before the upload: an unknown one costs nobody 50 MiB
    upload = await receive_bundle()
    version = await services().publisher.begin(tenant, function.id, upload)
    return version_json(version), 202


@blueprint.get("/functions/<ref>/versions/<int:number>")
async def get_version(ref: str, number: int) -> dict[str, Any]:
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return version_json(registry.version(function.id, number))
