"""What the version that serves was shipped with: its actors, and the names of its secrets."""

from __future__ import annotations

import asyncio
from typing import Any

from quart import Blueprint, render_template

from host.dashboard.guard import ask

blueprint = Blueprint("settings", __name__)


@blueprint.get("/functions/<ref>/settings")
async def settings(ref: str) -> str:
    found = await ask("GET", f"/functions/{ref}")
    version, secrets = await asyncio.gather(_version(found), _secrets())
    bound = [one for one in secrets if found["name"] in one["used_by"]]
    return await render_template("settings.html", function=found, version=version, secrets=secrets, bound=bound)


async def _version(function: dict[str, Any]) -> Any:
    """The one that serves, or None."""
    number = function["version"]
    return None if number is None else await ask("GET", f"/functions/{function['id']}/versions/{number}")


async def _secrets() -> list[dict[str, Any]]:
    return list((await ask("GET", "/secrets", {"limit": 500}))["secrets"])
