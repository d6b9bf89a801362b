"""Functions: all of them with how they go, and one with its charts, versions, deployments and settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from quart import Blueprint, redirect, render_template, request, url_for

from host.dashboard import charts, questions
from host.dashboard.forms import asked, confirmed, done
from host.dashboard.guard import Reply, ask, rooms

blueprint = Blueprint("functions", __name__)

PAGE = 25
"""Functions of one page, each of which asks the workers something."""
SPANS = (15, 30, 60)
"""Minutes that charts show."""


@blueprint.get("/")
async def overview() -> str:
    return await render_template("functions.html", **await _listed())


@blueprint.get("/functions/rows")
async def rows() -> str:
    """The list alone, again."""
    return await render_template("_functions.html", **await _listed())


@blueprint.get("/functions/<ref>")
async def function(ref: str) -> str:
    return await render_template("function.html", **await _measured(ref))


@blueprint.get("/functions/<ref>/charts")
async def chart(ref: str) -> str:
    """The charts alone, again."""
    return await render_template("_charts.html", **await _measured(ref))


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
    back = url_for("functions.versions", ref=ref)
    word = questions.deploy_word(number, found["version"])
    if (page := await confirmed(questions.deploy(found["name"], number, found["version"]), word, back)) is not None:
        return page
    deployed = await ask("POST", f"/functions/{ref}/deployments", body={"version": number})
    return done(f"Version {deployed['version']} of {found['name']} serves now.", back, *deployed["warnings"])


@blueprint.post("/functions/<ref>/release")
async def release(ref: str) -> Reply:
    found = await ask("POST", f"/functions/{ref}/release")
    return done(f"{found['name']} serves again.", url_for("functions.function", ref=ref))


@blueprint.get("/functions/<ref>/settings")
async def settings(ref: str) -> str:
    found = await ask("GET", f"/functions/{ref}")
    version, secrets = await asyncio.gather(_version(found), _secrets())
    bound = [one for one in secrets if found["name"] in one["used_by"]]
    return await render_template("settings.html", function=found, version=version, secrets=secrets, bound=bound)


@blueprint.get("/functions")
async def functions() -> Reply:
    return redirect(url_for("functions.overview"), 303)


async def _listed() -> dict[str, Any]:
    page = await ask("GET", "/functions", {"limit": PAGE, **asked("cursor")})
    measured = await asyncio.gather(*map(_metrics, (one["id"] for one in page["functions"])))
    now_ms = rooms().clock.now()
    shown = [
        (one, metrics, _charts(charts.minutes_of(metrics["series"], metrics["minutes"], now_ms)))
        for one, metrics in zip(page["functions"], measured, strict=True)
    ]
    return {"functions": shown, "next": page["next"], "cursor": request.args.get("cursor", "")}


async def _measured(ref: str) -> dict[str, Any]:
    text = request.args.get("minutes", "60")
    minutes = int(text) if text in map(str, SPANS) else SPANS[-1]
    found, metrics = await asyncio.gather(ask("GET", f"/functions/{ref}"), _metrics(ref, minutes))
    spread = charts.minutes_of(metrics["series"], minutes, rooms().clock.now())
    return {"function": found, "metrics": metrics, "charts": _charts(spread), "table": spread[::-1], "spans": SPANS}


async def _metrics(ref: str, minutes: int = SPANS[-1]) -> Any:
    return await ask("GET", f"/functions/{ref}/metrics", {"minutes": minutes})


def _charts(minutes: Sequence[charts.Minute]) -> list[charts.Chart]:
    return [charts.requests_chart(minutes), charts.errors_chart(minutes), charts.latency_chart(minutes)]


async def _version(function: dict[str, Any]) -> Any:
    """The one that serves, or None."""
    number = function["version"]
    return None if number is None else await ask("GET", f"/functions/{function['id']}/versions/{number}")


async def _secrets() -> list[dict[str, Any]]:
    return list((await ask("GET", "/secrets", {"limit": 500}))["secrets"])
