"""Backups of the whole host, for its operator: making one, watching it, deleting old ones, and how to restore one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quart import Blueprint, render_template, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import confirmed, done, field
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("backups", __name__)

SHOWN_MAX = 500
"""The oldest of a page of the admin API; who keeps more has the command line."""


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
        if keep and not keep.isdecimal():
            raise ApiError(400, ["How many to keep is a whole number, or nothing for all."])
        made = await ask("POST", "/backups", body={"keep": int(keep)} if keep else {})
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
    found = (await ask("GET", "/backups", {"limit": SHOWN_MAX}))["backups"][::-1]
    complete = [one["id"] for one in found if one["state"] == "complete"]
    return {"backups": found, "example": complete[0] if complete else "20261123T130141Z-412"}
