"""/v1/tenants: what the operator does with tenants, and /v1/secrets-key, with the key that seals their secrets."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint

from host.admin.contract import Created, Input, NoContent, NonEmpty, takes
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.shapes import Sealed, Tenant, TenantPage
from host.admin.views import tenant_json
from host.model.errors import Unavailable

blueprint = Blueprint("tenants", __name__)


class NewTenant(Input):
    id: Annotated[NonEmpty, Meta(description="At most 40 lower-case letters, digits and hyphens.")]


@blueprint.get("/tenants")
@takes()
async def list_tenants(query: Paging) -> TenantPage:
    """List the tenants of the host, in order of their id."""
    registry = services().registry
    page, following = page_of(query, registry.accounts.tenants(), lambda tenant: (tenant.id,))
    return {"tenants": [tenant_json(tenant, registry) for tenant in page], "next": following}


@blueprint.post("/tenants")
@takes()
async def create_tenant(body: NewTenant) -> Created[Tenant]:
    """Create a tenant. It has no key yet."""
    registry = services().registry
    tenant = await registry.accounts.create_tenant(body.id)
    return tenant_json(tenant, registry), 201


@blueprint.get("/tenants/<tenant>")
async def get_tenant(tenant: str) -> Tenant:
    """Show a tenant."""
    registry = services().registry
    return tenant_json(registry.accounts.tenant(tenant), registry)


@blueprint.post("/tenants/<tenant>/suspend")
async def suspend_tenant(tenant: str) -> Tenant:
    """Suspend a tenant. Nothing of it serves, and no key of it does anything, when this answers."""
    registry = services().registry
    return tenant_json(await registry.set_tenant_status(tenant, "suspended"), registry)


@blueprint.post("/tenants/<tenant>/resume")
async def resume_tenant(tenant: str) -> Tenant:
    """End a suspension."""
    registry = services().registry
    return tenant_json(await registry.set_tenant_status(tenant, "active"), registry)


@blueprint.delete("/tenants/<tenant>")
async def delete_tenant(tenant: str) -> NoContent:
    """Delete a tenant with everything it has. Nothing of it is left when this answers."""
    departures = services().departures
    if departures is None:
        raise Unavailable("This host runs no actors, so it cannot delete what actors stored.")
    await departures.delete(tenant)
    return "", 204


@blueprint.post("/secrets-key/rotate")
async def rotate_secrets_key() -> Sealed:
    """Encrypt every secret of the host with a new key and forget the old one."""
    return {"sealed": await services().registry.secrets.rotate()}
