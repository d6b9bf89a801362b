"""/v1/functions/{id or name}/versions and /deployments: ship a bundle, see what became of it, choose what serves."""

from __future__ import annotations

from typing import Any

from quart import Blueprint
from quart.wrappers import Response

from host.admin.auth import caller
from host.admin.idempotency import claim_upload
from host.admin.paging import page_of
from host.admin.requests import number_field, read_json, receive_bundle
from host.admin.services import services
from host.admin.views import deployed_json, deployment_json, listed_version_json, version_json
from host.registry.deployments import history

blueprint = Blueprint("versions", __name__)


@blueprint.post("/functions/<ref>/versions")
async def ship(ref: str) -> tuple[dict[str, Any], int] | Response:
    """The body is the bundle. 202: the version is numbered, and compiled in the background."""
    key = caller()
    function = services().registry.function(key.tenant, ref)  # before the upload: an unknown one costs nobody 50 MiB
    upload = await receive_bundle()
    if (before := await claim_upload(upload)) is not None:
        return before
    version = await services().publisher.begin(key.tenant, function.id, upload, key.label)
    return version_json(version), 202


@blueprint.get("/functions/<ref>/versions/<int:number>")
async def get_version(ref: str, number: int) -> dict[str, Any]:
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return version_json(registry.version(function.id, number))


@blueprint.get("/functions/<ref>/versions")
async def list_versions(ref: str) -> dict[str, Any]:
    """The newest first."""
    function = services().registry.function(caller().tenant, ref)
    newest_first = services().registry.versions(function.id)[::-1]
    page, following = page_of(newest_first, lambda version: (version.number,), reverse=True)
    return {
        "versions": [listed_version_json(one, serving=one.number == function.serving) for one in page],
        "next": following,
    }


@blueprint.get("/functions/<ref>/deployments")
async def list_deployments(ref: str) -> dict[str, Any]:
    """The newest first."""
    function = services().registry.function(caller().tenant, ref)
    past = history(function)
    ends = [one.since_ms for one in past[1:]]
    newest_first = list(zip(past, [*ends, None], strict=True))[::-1]
    page, following = page_of(newest_first, lambda one: (one[0].since_ms, one[0].version), reverse=True)
    return {"deployments": [deployment_json(one, end) for one, end in page], "next": following}


@blueprint.post("/functions/<ref>/deployments")
async def deploy(ref: str) -> tuple[dict[str, Any], int]:
    """Let a version serve that is there: a rollback, or forward again. It serves when this answers."""
    key = caller()
    number = number_field(await read_json(("version",)), "version")
    deployed = await services().publisher.deploy(key.tenant, ref, number, key.label)
    return deployed_json(deployed), 201
