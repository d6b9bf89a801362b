"""/v1/functions/{id or name}/versions and /deployments: ship a bundle, see what became of it, choose what serves."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller, require_key
from host.admin.requests import number_field, page_query, read_json, receive_bundle
from host.admin.services import services
from host.admin.views import deployed_json, deployment_json, listed_version_json, version_json
from host.model.errors import UsageError
from host.registry.deployments import history

blueprint = Blueprint("versions", __name__)
blueprint.before_request(require_key)

_NUMBER_DIGITS_MAX = 10


@blueprint.post("/functions/<ref>/versions")
async def ship(ref: str) -> tuple[dict[str, Any], int]:
    """The body is the bundle. 202: the version is numbered, and compiled in the background."""
    key = caller()
    function = services().registry.function(key.tenant, ref)  # before the upload: an unknown one costs nobody 50 MiB
    upload = await receive_bundle()
    version = await services().publisher.begin(key.tenant, function.id, upload, key.label)
    return version_json(version), 202


@blueprint.get("/functions/<ref>/versions/<int:number>")
async def get_version(ref: str, number: int) -> dict[str, Any]:
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return version_json(registry.version(function.id, number))


@blueprint.get("/functions/<ref>/versions")
async def list_versions(ref: str) -> dict[str, Any]:
    """The newest first; the cursor is the number of the last one seen."""
    function = services().registry.function(caller().tenant, ref)
    limit, cursor = page_query()
    before = _before(cursor)
    found = [one for one in services().registry.versions(function.id)[::-1] if before is None or one.number < before]
    page = found[:limit]
    return {
        "versions": [listed_version_json(one, serving=one.number == function.serving) for one in page],
        "next": str(page[-1].number) if len(found) > limit else None,
    }


def _before(cursor: str) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _NUMBER_DIGITS_MAX):
        raise UsageError('The "cursor" is not one that this route gave as "next".')
    return int(cursor)


@blueprint.get("/functions/<ref>/deployments")
async def list_deployments(ref: str) -> dict[str, Any]:
    """The newest first. As many as are kept, so there are no pages."""
    function = services().registry.function(caller().tenant, ref)
    past = history(function)
    ends = [one.since_ms for one in past[1:]]
    return {"deployments": [deployment_json(one, end) for one, end in zip(past, [*ends, None], strict=True)][::-1]}


@blueprint.post("/functions/<ref>/deployments")
async def deploy(ref: str) -> tuple[dict[str, Any], int]:
    """Let a version serve that is there: a rollback, or forward again. It serves when this answers."""
    key = caller()
    number = number_field(await read_json(("version",)), "version")
    deployed = await services().publisher.deploy(key.tenant, ref, number, key.label)
    return deployed_json(deployed), 201
