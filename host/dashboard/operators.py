"""What the host's operator sees beyond an own tenant: tenants with their keys, and the workers."""

from __future__ import annotations

import asyncio
from typing import Any

from quart import Blueprint, render_template, request, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import asked, confirmed, done, field
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("operators", __name__)

SCOPES = {"read": "read: look", "deploy": "deploy: ship and edit", "admin": "admin: also delete, and manage keys"}


@blueprint.get("/tenants")
async def tenants() -> str:
    return await _tenants_page()


@blueprint.post("/tenants")
async def create_tenant() -> Reply | tuple[str, int]:
    identifier = (await field("id")).strip()
    try:
        await ask("POST", "/tenants", body={"id": identifier})
    except ApiError as error:
        if error.status not in (400, 409):
            raise
        return await _tenants_page(error.sentences, identifier), error.status
    return done(f"Tenant {identifier} is created. Give it a key.", url_for("operators.tenant", tenant=identifier))


@blueprint.get("/tenants/<tenant>")
async def tenant(tenant: str) -> str:
    return await _tenant_page(tenant)


@blueprint.post("/tenants/<tenant>/suspend")
async def suspend(tenant: str) -> Reply:
    back = url_for("operators.tenant", tenant=tenant)
    if (page := await confirmed(questions.suspend(tenant), "Suspend", back)) is not None:
        return page
    await ask("POST", f"/tenants/{tenant}/suspend")
    return done(f"{tenant} is suspended.", back)


@blueprint.post("/tenants/<tenant>/resume")
async def resume(tenant: str) -> Reply:
    await ask("POST", f"/tenants/{tenant}/resume")
    return done(f"{tenant} is active again.", url_for("operators.tenant", tenant=tenant))


@blueprint.post("/tenants/<tenant>/keys")
async def create_key(tenant: str) -> str | tuple[str, int]:
    """The page with the key is the only one that ever shows it."""
    fields = {"name": (await field("name")).strip(), "scope": await field("scope")}
    try:
        made = await ask("POST", f"/tenants/{tenant}/keys", body=fields)
    except ApiError as error:
        if error.status not in (400, 409):
            raise
        return await _tenant_page(tenant, errors=error.sentences, fields=fields), error.status
    return await _tenant_page(tenant, made=made)


@blueprint.post("/tenants/<tenant>/keys/<key_id>/revoke")
async def revoke_key(tenant: str, key_id: str) -> Reply:
    back = url_for("operators.tenant", tenant=tenant)
    question = questions.revoke_key(request.args.get("label", key_id), tenant)
    if (page := await confirmed(question, "Revoke", back)) is not None:
        return page
    await ask("DELETE", f"/tenants/{tenant}/keys/{key_id}")
    return done("The key is revoked.", back)


@blueprint.get("/workers")
async def workers() -> str:
    return await render_template("workers.html", **await _host())


@blueprint.post("/tenants/<tenant>/functions/<ref>/release")
async def release(tenant: str, ref: str) -> Reply:
    found = await ask("POST", f"/tenants/{tenant}/functions/{ref}/release")
    return done(f"{found['name']} of {tenant} serves again.", url_for("operators.workers"))


@blueprint.get("/workers/rows")
async def rows() -> str:
    """The page's live part, again."""
    return await render_template("_workers.html", **await _host())


async def _tenants_page(errors: list[str] | None = None, identifier: str = "") -> str:
    page = await ask("GET", "/tenants", asked("cursor"))
    return await render_template("tenants.html", page=page, errors=errors or [], identifier=identifier)


async def _tenant_page(tenant: str, **more: Any) -> str:
    found, keys = await asyncio.gather(
        ask("GET", f"/tenants/{tenant}"), ask("GET", f"/tenants/{tenant}/keys", {"limit": 500})
    )
    return await render_template("tenant.html", tenant=found, keys=keys["keys"], scopes=SCOPES, **more)


async def _host() -> dict[str, Any]:
    """Everybody may ask for the status, but only an operator is told of workers."""
    status = await ask("GET", "/status")
    if "workers" not in status:
        raise ApiError(403, ["This is for the host's operator: it needs an operator's key."])
    refused = [(text, *_named(text)) for text in status["quarantined"]]
    return {"status": status, "refused": refused}


def _named(text: str) -> tuple[str, str]:
    """(tenant, function) of what the status says is in quarantine, such as `acme/account version 3`."""
    tenant, _, rest = text.partition("/")
    return tenant, rest.split(" ")[0]
