"""Backups of the whole host, for its operator: making one, watching it, deleting old ones, and how to restore one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quart import Blueprint, render_template, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import confirmed, done, field, whole
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("backups", __name__)


@blueprint.get("/backups")
async def backups() -> str:
    return await _page()


@blueprint.get("/backups/rows")
async def rows() -> str:
    """The list alone, again."""
    return await render_template("_backups.html", **await _listed())


@blueprint.post("/backups")
async def create() -> Reply | tuple[str, int]:
    keep = (await field("keep")).strip()
    try:
        if keep and whole(keep) is None:
            raise ApiError(400, ["How many to keep is a whole number, or nothing for all."])
        made = await ask("POST", "/backups", body={"keep": whole(keep)} if keep else {})
    except ApiError as error:
        if error.status not in (400, 409, 503):
            raise
        return await _page(error.sentences, keep), error.status
    return done(f"The backup {made['id']} is being made.", url_for("backups.backups"))


@blueprint.post("/backups/<backup_id>/delete")
async def delete(backup_id: str) -> Reply:
    back = url_for("backups.backups")
    if (page := await confirmed(questions.delete_backup(backup_id), "Delete", back)) is not None:
        return page
    await ask("DELETE", f"/backups/{backup_id}")
    return done(f"The backup {backup_id} is deleted.", back)


async def _page(errors: Iterable[str] = (), keep: str = "") -> str:
    return await render_template("backups.html", errors=errors, keep=keep, **await _listed())


async def _listed() -> Mapping[str, Any]:
    """The newest first."""
    found: list[dict[str, Any]] = []
    query: dict[str, str | int] | None = {"limit": 500}
    while query is not None:
        page = await ask("GET", "/backups", query)
        found = [*page["backups"][::-1], *found]
        query = None if page["next"] is None else {**query, "cursor": page["next"]}
    complete = [one["id"] for one in found if one["state"] == "complete"]
    return {"backups": found, "example": complete[0] if complete else "BACKUP"}
