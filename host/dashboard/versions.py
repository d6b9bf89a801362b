"""What a function was shipped as, and which of its versions served when; letting another one serve."""

from __future__ import annotations

import asyncio

from quart import Blueprint, render_template, url_for

from host.dashboard import questions
from host.dashboard.forms import asked, confirmed, done
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("versions", __name__)


@blueprint.get("/functions/<ref>/versions")
async def versions(ref: str) -> str:
    query = asked("cursor")
    found, page, deployments = await asyncio.gather(
        ask("GET", f"/functions/{ref}"),
        ask("GET", f"/functions/{ref}/versions", query),
        ask("GET", f"/functions/{ref}/deployments", {"limit": 20}),
    )
    return await render_template("versions.html", function=found, page=page, deployments=deployments["deployments"])


@blueprint.post("/functions/<ref>/versions/<int:number>/deploy")
async def deploy(ref: str, number: int) -> Reply:
    found = await ask("GET", f"/functions/{ref}")
    back = url_for("versions.versions", ref=ref)
    word = questions.deploy_word(number, found["version"])
    if (page := await confirmed(questions.deploy(found["name"], number, found["version"]), word, back)) is not None:
        return page
    deployed = await ask("POST", f"/functions/{ref}/deployments", body={"version": number})
    return done(f"Version {deployed['version']} of {found['name']} serves now.", back, *deployed["warnings"])
