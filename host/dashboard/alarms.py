"""Alarms: those that wait, and those that failed for good, which can be tried again."""

from __future__ import annotations

from quart import Blueprint, render_template, request, url_for

from host.dashboard import questions
from host.dashboard.forms import asked, confirmed, done
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("alarms", __name__)


@blueprint.get("/alarms")
async def alarms() -> str:
    state = "waiting" if request.args.get("state") == "waiting" else "dead"
    query = asked("type", "cursor")
    page = await ask("GET", "/alarms", {"state": state, **query})
    types = [one["type"] for one in (await ask("GET", "/actor-types"))["types"]]
    return await render_template("alarms.html", page=page, state=state, types=types, query=query)


@blueprint.post("/alarms/retry")
async def retry() -> Reply:
    """One actor's, or with no name those of all actors of the type."""
    named = asked("type", "name")
    back = url_for("alarms.alarms")
    if "name" in named:
        body: dict[str, object] = {**named}
    else:
        if (page := await confirmed(questions.retry_all(named.get("type", "")), "Retry all", back)) is not None:
            return page
        body = {**named, "all": True}
    answer = await ask("POST", "/alarms/retry", body=body)
    more = ["There are more; retry them, too."] if answer["more"] else []
    number = answer["retried"]
    return done(f"{number:,} alarm{'' if number == 1 else 's'} put back; due now.", back, *more)
