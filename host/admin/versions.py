"""/v1/functions/{id or name}/versions and /deployments: ship a bundle, see what became of it, choose what serves."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint
from quart.wrappers import Response

from host.admin.auth import caller
from host.admin.contract import Accepted, Created, Input, Media, NoContent, Positive, takes
from host.admin.function_shapes import Deployed, DeploymentPage, Function, Pruned, Share, Version, VersionPage
from host.admin.idempotency import claim_upload
from host.admin.paging import Paging, page_of
from host.admin.requests import receive_bundle
from host.admin.services import services
from host.admin.views import (
    deployed_json,
    deployment_json,
    function_json,
    listed_version_json,
    pruned_json,
    version_json,
)
from host.model.errors import UsageError
from host.model.keep import DAYS_MAX, VERSIONS_MAX, Keep
from host.registry.deployments import history
from host.registry.records import Share as ShareRecord

blueprint = Blueprint("versions", __name__)


BUNDLE = Media("application/zip", "A zip of exactly `tenure.toml` (or `telnyx.toml`) and `component.wasm`.")


class Shipping(Input):
    deploy: Annotated[bool, Meta(description="Whether the version serves once it is compiled.")] = True


class Revision(Input):
    """Either of them."""

    version: Annotated[Positive | None, Meta(description="The number of one that is `deploy_ok`.")] = None
    split: Annotated[list[Share] | None, Meta(description="Several of them, each once.")] = None


Days = Annotated[float, Meta(ge=0, le=DAYS_MAX, description="What served within so many days stays.")]


class Pruning(Input):
    keep: Annotated[int, Meta(ge=0, le=VERSIONS_MAX, description="The newest so many stay.")] = Keep().versions
    days: Days = Keep().days
    dry_run: Annotated[bool, Meta(description="Only say what would go.")] = False


class NewRule(Input):
    keep: Annotated[int, Meta(ge=1, le=VERSIONS_MAX, description="The newest so many stay.")] = Keep().versions
    days: Days = Keep().days


@blueprint.post("/functions/<ref>/versions")
@takes(BUNDLE)
async def ship(ref: str, query: Shipping) -> Accepted[Version] | Response:
    """Ship a bundle. When this answers the version is numbered; it is compiled in the background."""
    key = caller()
    function = services().registry.function(key.tenant, ref)  # before the upload: an unknown one costs nobody 50 MiB
    upload = await receive_bundle()
    if (before := await claim_upload(upload)) is not None:
        return before
    version = await services().publisher.begin(key.tenant, function.id, upload, key.label, deploy=query.deploy)
    return version_json(version, key.tenant, services().registry), 202


@blueprint.get("/functions/<ref>/versions/<int:number>")
async def get_version(ref: str, number: int) -> Version:
    """Show a version. Ask until its `status` is no longer `compiling`."""
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return version_json(registry.version(function.id, number), function.tenant, registry)


@blueprint.get("/functions/<ref>/versions")
@takes()
async def list_versions(ref: str, query: Paging) -> VersionPage:
    """List the versions that are kept, the newest first."""
    function = services().registry.function(caller().tenant, ref)
    newest_first = services().registry.versions(function.id)[::-1]
    page, following = page_of(query, newest_first, lambda version: (version.number,), reverse=True)
    return {
        "versions": [listed_version_json(one, function) for one in page],
        "next": following,
    }


@blueprint.get("/functions/<ref>/deployments")
@takes()
async def list_deployments(ref: str, query: Paging) -> DeploymentPage:
    """List which versions served when, the newest first."""
    function = services().registry.function(caller().tenant, ref)
    past = history(function)
    ends = [one.since_ms for one in past[1:]]
    newest_first = list(zip(past, [*ends, None], strict=True))[::-1]
    page, following = page_of(query, newest_first, lambda one: (one[0].since_ms, one[0].version), reverse=True)
    return {"deployments": [deployment_json(one, end) for one, end in page], "next": following}


@blueprint.post("/functions/<ref>/deployments")
@takes()
async def deploy(ref: str, body: Revision) -> Created[Deployed]:
    """Let versions serve that are there: a rollback, forward again, or a split. They serve when this answers."""
    key = caller()
    deployed = await services().publisher.deploy(key.tenant, ref, _wanted(body), key.label)
    return deployed_json(deployed), 201


@blueprint.post("/functions/<ref>/versions/prune")
@takes()
async def prune(ref: str, body: Pruning) -> Pruned:
    """Remove old versions by rule, or say what would go. What serves stays, and what a rollback needs."""
    keep = Keep(body.keep, body.days)
    pruned = await services().publisher.prune(caller().tenant, ref, keep, dry_run=body.dry_run)
    return pruned_json(pruned, dry_run=body.dry_run)


@blueprint.put("/functions/<ref>/versions/rule")
@takes()
async def set_rule(ref: str, body: NewRule) -> Function:
    """Give a function a rule of its own by which old versions go by themselves: after each ship and deployment, and
    once an hour. What a prune never removes stays here, too.
    """
    keep = Keep(body.keep, body.days)
    return function_json(await services().registry.rules.change(caller().tenant, ref, keep), services())


@blueprint.delete("/functions/<ref>/versions/rule")
async def clear_rule(ref: str) -> NoContent:
    """Let the host's rule count again for a function, if the host has one."""
    await services().registry.rules.change(caller().tenant, ref, None)
    return "", 204


def _wanted(body: Revision) -> list[ShareRecord]:
    """Raises UsageError."""
    if body.version is not None and body.split is None:
        return [ShareRecord(body.version)]
    if body.split is not None and body.version is None:
        return [ShareRecord(share["version"], share["weight"]) for share in body.split]
    raise UsageError('Name either a "version" or a "split", a list such as [{"version": 3, "weight": 90}, ...].')
