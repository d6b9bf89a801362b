"""/v1/functions: list, create, look at, delete. In a path a function is named by its id or its name."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller
from host.admin.paging import page_of
from host.admin.requests import flag_field, read_json, text_field
from host.admin.services import services
from host.admin.views import function_json

blueprint = Blueprint("functions", __name__)


@blueprint.get("/functions")
async def list_functions() -> dict[str, Any]:
    """In order of their name."""
    page, following = page_of(services().registry.functions(caller().tenant), lambda function: (function.name,))
    return {"functions": [function_json(function, services()) for function in page], "next": following}


@blueprint.post("/functions")
async def create_function() -> tuple[dict[str, Any], int]:
    body = await read_json(("name", "actor"))
    name, actor = text_field(body, "name"), flag_field(body, "actor")
    function = await services().registry.create_function(caller().tenant, name, actor=actor)
    return function_json(function, services()), 201


@blueprint.get("/functions/<ref>")
async def get_function(ref: str) -> dict[str, Any]:
    return function_json(services().registry.function(caller().tenant, ref), services())


@blueprint.post("/functions/<ref>/release")
async def release_function(ref: str) -> dict[str, Any]:
    """Let the version serve again that is in quarantine."""
    registry = services().registry
    function = registry.function(caller().tenant, ref)
    return function_json(await registry.quarantine(function.id, None), services())


@blueprint.delete("/functions/<ref>")
async def delete_function(ref: str) -> tuple[str, int]:
    await services().publisher.delete_function(caller().tenant, ref)
    return "", 204
