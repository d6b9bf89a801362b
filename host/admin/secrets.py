"""/v1/secrets: the names of a tenant's secrets, and storing and deleting them. A value comes in and never goes out."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller
from host.admin.paging import page_of
from host.admin.requests import read_json, text_field
from host.admin.services import services
from host.admin.views import secret_json

blueprint = Blueprint("secrets", __name__)


@blueprint.get("/secrets")
async def list_secrets() -> dict[str, Any]:
    """In order of their name."""
    registry = services().registry
    page, following = page_of(registry.secrets.of_tenant(caller().tenant), lambda secret: (secret.name,))
    return {"secrets": [secret_json(secret, registry) for secret in page], "next": following}


@blueprint.put("/secrets/<name>")
async def put_secret(name: str) -> dict[str, Any]:
    """What serves has the value when this answers."""
    value = text_field(await read_json(("value",)), "value")
    key, registry = caller(), services().registry
    return secret_json(await registry.secrets.put(key.tenant, name, value, key.label), registry)


@blueprint.delete("/secrets/<name>")
async def delete_secret(name: str) -> tuple[str, int]:
    await services().registry.secrets.delete(caller().tenant, name)
    return "", 204
