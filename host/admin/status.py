"""/v1/status and /v1/whoami: is the host well, and who am I to it."""

from __future__ import annotations

from typing import cast

from quart import Blueprint

from host.admin.auth import caller
from host.admin.services import services
from host.admin.shapes import HostStatus, Whoami

ANY_LABEL = "NAME-ID"
"""In place of the first part of a function's host name."""

blueprint = Blueprint("status", __name__)


@blueprint.get("/status")
async def status() -> HostStatus:
    """Show whether the host is well. Operators see the whole host, tenants themselves."""
    host = cast(HostStatus, {"functions_url": services().url(ANY_LABEL), **await services().status()})
    key = caller()
    if key.role == "operator":
        return host
    functions = len(services().registry.functions(key.tenant))
    return {
        "version": host["version"],
        "uptime_s": host["uptime_s"],
        "functions_url": host["functions_url"],
        "functions": functions,
    }


@blueprint.get("/whoami")
async def whoami() -> Whoami:
    """Show who the key is."""
    key = caller()
    return {"tenant": key.tenant, "name": key.label, "role": key.role, "scope": key.scope}
