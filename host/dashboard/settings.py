"""What a version was shipped with, by default the one that serves: variables, secrets, actors, limits and the rest.

All of it is part of the version but the values of secrets, which are the tenant's and can be stored here as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from quart import Blueprint, render_template, request, url_for

from host.dashboard.api import ApiError
from host.dashboard.forms import done, field
from host.dashboard.guard import Reply, ask
from host.dashboard.secrets import all_secrets, delete_named, store_sent, stored

blueprint = Blueprint("settings", __name__)


@blueprint.get("/functions/<ref>/settings")
async def settings(ref: str) -> str:
    return await _page(ref)


@blueprint.post("/functions/<ref>/secrets")
async def store_secret(ref: str) -> Reply | tuple[str, int]:
    found = await ask("GET", f"/functions/{ref}")
    try:
        name = await store_sent()
    except ApiError as error:
        if error.status not in (400, 413, 422):
            raise
        return await _page(ref, error.sentences, await field("name")), error.status
    return done(stored(name), url_for("settings.settings", ref=found["name"]))


@blueprint.post("/functions/<ref>/secrets/delete")
async def delete_secret(ref: str) -> Reply:
    found = await ask("GET", f"/functions/{ref}")
    return await delete_named(url_for("settings.settings", ref=found["name"]))


async def _page(ref: str, errors: Iterable[str] = (), name: str = "") -> str:
    """`errors` are about the form for a secret, which was sent with `name`."""
    found = await ask("GET", f"/functions/{ref}")
    wanted = request.args.get("version") or found["version"]
    version, secrets = await asyncio.gather(_version(found, wanted), all_secrets())
    return await render_template(
        "settings.html",
        function=found,
        version=version,
        stored={secret["name"]: secret for secret in secrets},
        another=version is not None and version["number"] != found["version"],
        errors=errors,
        name=name,
    )


async def _version(function: dict[str, Any], wanted: int | str | None) -> Any:
    """None of a function that has none. Raises ApiError."""
    if wanted is None:
        return None
    if not str(wanted).isdecimal():
        raise ApiError(404, ["A version has a number, such as 3."])
    return await ask("GET", f"/functions/{function['id']}/versions/{wanted}")
