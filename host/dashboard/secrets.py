"""The tenant's secrets: their names, storing and deleting them. A value comes in with a form and is on no page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quart import Blueprint, render_template, request, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import confirmed, done, field
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("secrets", __name__)

NOT_A_NAME = "A secret's name is letters, digits, dots, hyphens and underscores, beginning with a letter or digit."


@blueprint.get("/secrets")
async def secrets() -> str:
    return await _page()


@blueprint.post("/secrets")
async def store() -> Reply | tuple[str, int]:
    try:
        name = await store_sent()
    except ApiError as error:
        if error.status not in (400, 413, 422):
            raise
        return await _page(error.sentences, await field("name")), error.status
    return done(stored(name), url_for("secrets.secrets"))


@blueprint.post("/secrets/delete")
async def delete() -> Reply:
    return await delete_named(url_for("secrets.secrets"))


async def all_secrets() -> list[dict[str, Any]]:
    """A tenant has fewer than a page of the admin API holds."""
    return list((await ask("GET", "/secrets", {"limit": 500}))["secrets"])


async def store_sent() -> str:
    """Store what the form says; the secret's name. A browser sends line breaks as CR LF, whatever was pasted into the
    form, and a key in PEM has LF. Raises ApiError.
    """
    name, value = (await field("name")).strip(), (await field("value")).replace("\r\n", "\n")
    if not name or "/" in name:
        raise ApiError(400, [NOT_A_NAME])
    await ask("PUT", f"/secrets/{name}", body={"value": value})
    return name


def stored(name: str) -> str:
    return f"The secret {name} is stored. What serves has it now."


async def delete_named(back: str) -> Reply:
    """The one that the query names, after a question."""
    name = request.args.get("name", "")
    used_by = [function for one in await all_secrets() if one["name"] == name for function in one["used_by"]]
    if (page := await confirmed(questions.delete_secret(name, used_by), "Delete", back)) is not None:
        return page
    await ask("DELETE", f"/secrets/{name}")
    return done(f"The secret {name} is deleted.", back)


async def _page(errors: Iterable[str] = (), name: str = "") -> str:
    return await render_template("secrets.html", secrets=await all_secrets(), errors=errors, name=name)
