"""/v1/keys: the API keys of the caller's tenant; /v1/tenants/{id}/keys: those of any tenant, for the operator.

A key itself is in one reply only, the one to its creation.
"""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller
from host.admin.paging import page_of
from host.admin.requests import choice_field, moment, read_json, text_field
from host.admin.services import services
from host.admin.views import key_json
from host.registry.records import SCOPES, Role

blueprint = Blueprint("keys", __name__)

FIELDS = ("name", "scope", "expires_at")
ROLES: tuple[Role, ...] = ("tenant", "operator")


@blueprint.get("/keys")
async def list_keys() -> dict[str, Any]:
    return _list(caller().tenant)


@blueprint.post("/keys")
async def create_key() -> tuple[dict[str, Any], int]:
    return await _create(caller().tenant, await read_json(FIELDS)), 201


@blueprint.delete("/keys/<key_id>")
async def revoke_key(key_id: str) -> tuple[str, int]:
    await services().registry.accounts.revoke_key(caller().tenant, key_id)
    return "", 204


@blueprint.get("/tenants/<tenant>/keys")
async def list_keys_of(tenant: str) -> dict[str, Any]:
    services().registry.accounts.tenant(tenant)
    return _list(tenant)


@blueprint.post("/tenants/<tenant>/keys")
async def create_key_of(tenant: str) -> tuple[dict[str, Any], int]:
    """`role` may be "operator" for a key of the tenant `default`."""
    body = await read_json((*FIELDS, "role"))
    return await _create(tenant, body, choice_field(body, "role", ROLES, "tenant")), 201


@blueprint.delete("/tenants/<tenant>/keys/<key_id>")
async def revoke_key_of(tenant: str, key_id: str) -> tuple[str, int]:
    accounts = services().registry.accounts
    accounts.tenant(tenant)
    await accounts.revoke_key(tenant, key_id)
    return "", 204


def _list(tenant: str) -> dict[str, Any]:
    """In the order they were made."""
    accounts = services().registry.accounts
    page, following = page_of(accounts.keys(tenant), lambda key: (key.created_ms, key.hash))
    return {"keys": [key_json(key, accounts.last_used_ms(key)) for key in page], "next": following}


async def _create(tenant: str, body: dict[str, Any], role: Role = "tenant") -> dict[str, Any]:
    accounts = services().registry.accounts
    name, scope = text_field(body, "name"), choice_field(body, "scope", SCOPES, "admin")
    expires_at = body.get("expires_at")
    expires_ms = None if expires_at is None else moment(expires_at, "expires_at")
    key = await accounts.create_key(tenant, name, role, scope=scope, expires_ms=expires_ms)
    record = accounts.find_key(key)
    assert record is not None
    return {**key_json(record, None), "key": key}
