"""/v1/tenants: what the operator does with tenants, and /v1/secrets-key, with the key that seals their secrets."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.paging import page_of
from host.admin.requests import read_json, text_field
from host.admin.services import services
from host.admin.views import tenant_json
from host.model.errors import Unavailable

blueprint = Blueprint("tenants", __name__)


@blueprint.get("/tenants")
async def list_tenants() -> dict[str, Any]:
    """In order of their id."""
    registry = services().registry
    page, following = page_of(registry.accounts.tenants(), lambda tenant: (tenant.id,))
    return {"tenants": [tenant_json(tenant, registry) for tenant in page], "next": following}


@blueprint.post("/tenants")
async def create_tenant() -> tuple[dict[str, Any], int]:
    registry = services().registry
    tenant = await registry.accounts.create_tenant(text_field(await read_json(("id",)), "id"))
    return tenant_json(tenant, registry), 201


@blueprint.get("/tenants/<tenant>")
async def get_tenant(tenant: str) -> dict[str, Any]:
    registry = services().registry
    return tenant_json(registry.accounts.tenant(tenant), registry)


@blueprint.post("/tenants/<tenant>/suspend")
async def suspend_tenant(tenant: str) -> dict[str, Any]:
    """Nothing of it serves, and no key of it does anything, when this answers."""
    registry = services().registry
    return tenant_json(await registry.set_tenant_status(tenant, "suspended"), registry)


@blueprint.post("/tenants/<tenant>/resume")
async def resume_tenant(tenant: str) -> dict[str, Any]:
    registry = services().registry
    return tenant_json(await registry.set_tenant_status(tenant, "active"), registry)


@blueprint.delete("/tenants/<tenant>")
async def delete_tenant(tenant: str) -> tuple[str, int]:
    """With everything it has. Nothing of it is left when this answers."""
    departures = services().departures
    if departures is None:
        raise Unavailable("This host runs no actors, so it cannot delete what actors stored.")
    await departures.delete(tenant)
    return "", 204


@blueprint.post("/secrets-key/rotate")
async def rotate_secrets_key() -> dict[str, Any]:
    return {"sealed": await services().registry.secrets.rotate()}
