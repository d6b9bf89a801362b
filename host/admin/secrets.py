"""/v1/secrets: the names of a tenant's secrets, and storing and deleting them. A value comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Input, NoContent, NonEmpty, takes
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.shapes import Secret, SecretPage
from host.admin.views import secret_json

blueprint = Blueprint("secrets", __name__)


class SecretValue(Input):
    value: Annotated[NonEmpty, Meta(description="1 to 10,000 bytes of UTF-8.")]


@blueprint.get("/secrets")
@takes()
async def list_secrets(query: Paging) -> SecretPage:
    """List the names of your secrets, in order."""
    registry = services().registry
    page, following = page_of(query, registry.secrets.of_tenant(caller().tenant), lambda secret: (secret.name,))
    return {"secrets": [secret_json(secret, registry) for secret in page], "next": following}


@blueprint.put("/secrets/<name>")
@takes()
async def put_secret(name: str, body: SecretValue) -> Secret:
    """Store a secret. What serves has the value when this answers."""
    key, registry = caller(), services().registry
    return secret_json(await registry.secrets.put(key.tenant, name, body.value, key.label), registry)


@blueprint.delete("/secrets/<name>")
async def delete_secret(name: str) -> NoContent:
    """Delete a secret. Functions that bind it get `undefined`."""
    await services().registry.secrets.delete(caller().tenant, name)
    return "", 204
