"""/v1/status and /v1/whoami: is the host well, and who am I to it."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from host.admin.auth import caller
from host.admin.services import services

blueprint = Blueprint("status", __name__)

FOR_TENANTS = ("version", "uptime_s")


@blueprint.get("/status")
async def status() -> dict[str, Any]:
    """Operators see the whole host, tenants themselves."""
    host = dict(await services().status())
    key = caller()
    if key.role == "operator":
        return host
    mine = {name: host[name] for name in FOR_TENANTS if name in host}
    return {**mine, "functions": len(services().registry.functions(key.tenant))}


@blueprint.get("/whoami")
async def whoami() -> dict[str, Any]:
    key = caller()
    return {"tenant": key.tenant, "name": key.label, "role": key.role, "scope": key.scope}
