"""/v1/keys: the API keys of the caller's tenant; /v1/tenants/{id}/keys: those of any tenant, for the operator.

A key itself is in one reply only, the one to its creation.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Created, Input, Moment, NoContent, NonEmpty, takes
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.shapes import KeyPage, NewlyMadeKey
from host.admin.views import key_json
from host.registry.records import Role, Scope

blueprint = Blueprint("keys", __name__)


class NewKey(Input):
    name: Annotated[NonEmpty, Meta(description="1 to 64 characters; unique in the tenant.")]
    scope: Scope = "admin"
    expires_at: Annotated[Moment | None, Meta(description="When it ends by itself.")] = None


class NewKeyOfTenant(NewKey):
    role: Annotated[Role, Meta(description="`operator` for the tenant `default` only.")] = "tenant"


@blueprint.get("/keys")
@takes()
async def list_keys(query: Paging) -> KeyPage:
    """List the API keys of your tenant, in the order they were made."""
    return _list(caller().tenant, query)


@blueprint.post("/keys")
@takes()
async def create_key(body: NewKey) -> Created[NewlyMadeKey]:
    """Create an API key of your tenant. The reply has the key itself, this once."""
    return await _create(caller().tenant, body), 201


@blueprint.delete("/keys/<key_id>")
async def revoke_key(key_id: str) -> NoContent:
    """Revoke an API key, at once."""
    await services().registry.accounts.revoke_key(caller().tenant, key_id)
    return "", 204


@blueprint.get("/tenants/<tenant>/keys")
@takes()
async def list_keys_of(tenant: str, query: Paging) -> KeyPage:
    """List the API keys of a tenant, in the order they were made."""
    services().registry.accounts.tenant(tenant)
    return _list(tenant, query)


@blueprint.post("/tenants/<tenant>/keys")
@takes()
async def create_key_of(tenant: str, body: NewKeyOfTenant) -> Created[NewlyMadeKey]:
    """Create an API key of a tenant. The reply has the key itself, this once."""
    return await _create(tenant, body, body.role), 201


@blueprint.delete("/tenants/<tenant>/keys/<key_id>")
async def revoke_key_of(tenant: str, key_id: str) -> NoContent:
    """Revoke an API key of a tenant, at once."""
    accounts = services().registry.accounts
    accounts.tenant(tenant)
    await accounts.revoke_key(tenant, key_id)
    return "", 204


def _list(tenant: str, query: Paging) -> KeyPage:
    accounts = services().registry.accounts
    page, following = page_of(query, accounts.keys(tenant), lambda key: (key.created_ms, key.hash))
    return {"keys": [key_json(key, accounts.last_used_ms(key)) for key in page], "next": following}


async def _create(tenant: str, body: NewKey, role: Role = "tenant") -> NewlyMadeKey:
    accounts = services().registry.accounts
    expires_ms = None if body.expires_at is None else body.expires_at.timestamp() * 1000
    key = await accounts.create_key(tenant, body.name, role, scope=body.scope, expires_ms=expires_ms)
    record = accounts.find_key(key)
    assert record is not None
    return {**key_json(record, None), "key": key}
