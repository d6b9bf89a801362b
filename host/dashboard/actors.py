"""Actors: their types, looking for one, what it holds, and editing that, each edit a turn of its own.

An actor and a key are named in the query, where every text can stand as it is: a field of a form would change line
breaks in it.
"""

from __future__ import annotations

from typing import Any

from quart import Blueprint, render_template, request, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import asked, confirmed, done, field
from host.dashboard.guard import Reply, ask
from host.dashboard.words import value

blueprint = Blueprint("actors", __name__)


@blueprint.get("/actors")
async def actors() -> str:
    query = asked("type", "prefix", "cursor")
    if "type" not in query:
        query.pop("prefix", None)
    types = (await ask("GET", "/actor-types"))["types"]
    page = await ask("GET", "/actors", query)
    return await render_template("actors.html", types=types, page=page, query=query)


@blueprint.get("/actor")
async def actor() -> str:
    return await _actor_page()


@blueprint.post("/actor/delete")
async def delete() -> Reply:
    named = _named()
    if (page := await confirmed(questions.delete_actor(named), "Delete", url_for("actors.actor", **named))) is not None:
        return page
    await ask("DELETE", "/actor", named)
    return done(f"{named['type']} “{named['name']}” is deleted.", url_for("actors.actors", type=named["type"]))


@blueprint.get("/actor/key")
async def key() -> str:
    named = _named("key")
    found = await ask("GET", "/actor/key", named)
    text = str(found["text"]) if "text" in found else value(found["value"])
    return await render_template("key.html", named=named, text=text, is_json="text" not in found)


@blueprint.post("/actor/key")
async def put_key() -> Reply | tuple[str, int]:
    """The key's name is in the query, or for a new one in the form."""
    named = _named()
    named["key"] = request.args.get("key", "") or await field("new_key")
    text = await field("value")
    try:
        await ask("PUT", "/actor/key", named, text)
    except ApiError as error:
        if error.status in (401, 403) or error.status >= 500:
            raise
        if not request.args.get("key"):
            return await _actor_page(error.sentences, named["key"], text), error.status
        page = await render_template("key.html", named=named, text=text, is_json=True, errors=error.sentences)
        return page, error.status
    return done(f"“{named['key']}” is stored.", _back(named))


@blueprint.post("/actor/key/delete")
async def delete_key() -> Reply:
    named = _named("key")
    if (page := await confirmed(questions.delete_key(named), "Delete", _back(named))) is not None:
        return page
    await ask("DELETE", "/actor/key", named)
    return done(f"“{named['key']}” is deleted.", _back(named))


async def _actor_page(errors: list[str] | None = None, new_key: str = "", new_value: str = "") -> str:
    named, query = _named(), asked("prefix", "cursor")
    found = await ask("GET", "/actor", named)
    page = await ask("GET", "/actor/keys", {**named, **query})
    return await render_template(
        "actor.html",
        actor=found,
        named=named,
        page=page,
        query=query,
        errors=errors or [],
        new_key=new_key,
        new_value=new_value,
    )


def _named(*more: str) -> dict[str, Any]:
    """What the query names; the admin API refuses what is missing."""
    return {name: request.args.get(name, "") for name in ("type", "name", *more)}


def _back(named: dict[str, Any]) -> str:
    return url_for("actors.actor", type=named["type"], name=named["name"])
