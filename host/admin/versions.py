"""/v1/functions/{id or name}/versions and /deployments: ship a bundle, see what became of it, choose what serves."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint
from quart.wrappers import Response

from host.admin.auth import caller
from host.admin.contract import Accepted, Created, Input, Media, Positive, takes
from host.admin.idempotency import claim_upload
from host.admin.paging import Paging, page_of
from host.admin.requests import receive_bundle
from host.admin.services import services
from host.admin.shapes import Deployed, DeploymentPage, Version, VersionPage
from host.admin.views import deployed_json, deployment_json, listed_version_json, version_json
from host.registry.deployments import history

blueprint = Blueprint("versions", __name__)


BUNDLE = Media("application/zip", "A zip of exactly `tenure.toml` (or `telnyx.toml`) and `component.wasm`.")


class Revision(Input):
    version: Annotated[Positive, Meta(description="The number of one that is `deploy_ok`.")]


@blueprint.post("/functions/<ref>/versions")
@takes(BUNDLE)
async def ship(ref: str) -> Accepted[Version] | Response:
    """Ship a bundle. When this answers the version is numbered; it is compiled in the background."""
    key = caller()
    function = services().registry.function(key.tenant, ref)  # before the upload: an unknown one costs nobody 50 MiB
    upload = await receive_bundle()
    if (before := await claim_upload(upload)) is not None:
        return before
    version = await services().publisher.begin(key.tenant, function.id, upload, key.label)
    return version_json(version), 202


@blueprint.get("/functions/<ref>/versions/<int:number>")
async def get_version(ref: str, number: int) -> Version:
    """Show a version. Ask until its `status` is no longer `compiling`."""
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return version_json(registry.version(function.id, number))


@blueprint.get("/functions/<ref>/versions")
@takes()
async def list_versions(ref: str, query: Paging) -> VersionPage:
    """List the versions that are kept, the newest first."""
    function = services().registry.function(caller().tenant, ref)
    newest_first = services().registry.versions(function.id)[::-1]
    page, following = page_of(query, newest_first, lambda version: (version.number,), reverse=True)
    return {
        "versions": [listed_version_json(one, serving=one.number == function.serving) for one in page],
        "next": following,
    }


@blueprint.get("/functions/<ref>/deployments")
@takes()
async def list_deployments(ref: str, query: Paging) -> DeploymentPage:
    """List which version served when, the newest first."""
    function = services().registry.function(caller().tenant, ref)
    past = history(function)
    ends = [one.since_ms for one in past[1:]]
    newest_first = list(zip(past, [*ends, None], strict=True))[::-1]
    page, following = page_of(query, newest_first, lambda one: (one[0].since_ms, one[0].version), reverse=True)
    return {"deployments": [deployment_json(one, end) for one, end in page], "next": following}


@blueprint.post("/functions/<ref>/deployments")
@takes()
async def deploy(ref: str, body: Revision) -> Created[Deployed]:
    """Let a version serve that is there: a rollback, or forward again. It serves when this answers."""
    key = caller()
    deployed = await services().publisher.deploy(key.tenant, ref, body.version, key.label)
    return deployed_json(deployed), 201
