"""/v1/functions: list, create, look at, delete. In a path a function is named by its id or its name."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Created, Input, NoContent, NonEmpty, takes
from host.admin.function_shapes import Function, FunctionPage
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.views import function_json

blueprint = Blueprint("functions", __name__)


class NewFunction(Input):
    name: Annotated[NonEmpty, Meta(description="Lower-case letters, digits and hyphens; unique in your tenant.")]
    actor: Annotated[bool, Meta(description="The project was made for an actor.")] = False


@blueprint.get("/functions")
@takes()
async def list_functions(query: Paging) -> FunctionPage:
    """List your functions, in order of their name."""
    page, following = page_of(query, services().registry.functions(caller().tenant), lambda function: (function.name,))
    return {"functions": [function_json(function, services()) for function in page], "next": following}


@blueprint.post("/functions")
@takes()
async def create_function(body: NewFunction) -> Created[Function]:
    """Create a function."""
    function = await services().registry.create_function(caller().tenant, body.name, actor=body.actor)
    return function_json(function, services()), 201


@blueprint.get("/functions/<ref>")
async def get_function(ref: str) -> Function:
    """Show a function."""
    return function_json(services().registry.function(caller().tenant, ref), services())


@blueprint.post("/functions/<ref>/release")
async def release_function(ref: str) -> Function:
    """Let the version serve again that is in quarantine."""
    return await _released(caller().tenant, ref)


@blueprint.post("/tenants/<tenant>/functions/<ref>/release")
async def release_function_of(tenant: str, ref: str) -> Function:
    """Let a tenant's version serve again that is in quarantine."""
    return await _released(services().registry.accounts.tenant(tenant).id, ref)


@blueprint.delete("/functions/<ref>")
async def delete_function(ref: str) -> NoContent:
    """Delete a function with its versions."""
    await services().publisher.delete_function(caller().tenant, ref)
    return "", 204


async def _released(tenant: str, ref: str) -> Function:
    registry = services().registry
    function = registry.function(tenant, ref)
    return function_json(await registry.quarantine(function.id, None), services())
