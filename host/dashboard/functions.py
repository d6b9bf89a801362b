"""Functions: all of them with how they go, and one with its charts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from quart import Blueprint, redirect, render_template, request, url_for

from host.dashboard import charts
from host.dashboard.forms import asked, done
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


@blueprint.post("/functions/<ref>/release")
async def release(ref: str) -> Reply:
    found = await ask("POST", f"/functions/{ref}/release")
    return done(f"{found['name']} serves again.", url_for("functions.function", ref=ref))


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
