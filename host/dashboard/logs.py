"""A function's log: its newest lines as a page, and what comes as a stream of server-sent events.

An event is JSON: the lines as HTML, made by the same template as the page's. A browser that lost the connection asks
for what came after the last line that it has (`Last-Event-ID`). The stream ends with the connection, with the session
and with the key.
"""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Template
from quart import Blueprint, current_app, render_template, request
from quart.wrappers import Response

from host.dashboard.api import Lines
from host.dashboard.guard import ask, rooms, session
from host.dashboard.sessions import Session, Sessions

blueprint = Blueprint("logs", __name__)

LAST = 200
"""Lines that a page begins with."""
TYPES = ("console", "error", "invocation")
LEVELS = ("debug", "info", "warn", "error")


@blueprint.get("/functions/<ref>/logs")
async def logs(ref: str) -> str:
    function = await ask("GET", f"/functions/{ref}")
    page = await ask("GET", f"/functions/{ref}/logs", {**_filters(), "last": LAST})
    return await render_template(
        "logs.html",
        function=function,
        lines=page["logs"],
        cursor=page["cursor"],
        types=TYPES,
        levels=LEVELS,
        chosen=_chosen(),
        filters=_filters(),
    )


@blueprint.get("/functions/<ref>/logs/stream")
async def stream(ref: str) -> Response:
    cursor = request.headers.get("last-event-id") or request.args.get("cursor", "")
    query = {**_filters(), **({"cursor": cursor} if cursor else {}), "follow": "true"}
    lines = await rooms().api.lines(session().key, f"/functions/{ref}/logs", query)
    template = current_app.jinja_env.get_template("_log_lines.html")
    response = Response(_Events(lines, template, rooms().sessions, session()), content_type="text/event-stream")
    response.timeout = None
    return response


class _Events:
    """The lines of a log as server-sent events. `aclose` ends the request behind it."""

    def __init__(self, lines: Lines, template: Template, sessions: Sessions, mine: Session) -> None:
        self._lines = lines
        self._template = template
        self._sessions = sessions
        self._mine = mine

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> bytes:
        came = await anext(self._lines)
        if not self._sessions.goes_on(self._mine):
            await self.aclose()
            raise StopAsyncIteration
        entries = [json.loads(line) for line in came if line]
        if not entries:
            return b": nothing new\n\n"
        html = await self._template.render_async(lines=entries)
        return f"id: {entries[-1]['cursor']}\ndata: {json.dumps(html)}\n\n".encode()

    async def aclose(self) -> None:
        await self._lines.aclose()


def _chosen() -> dict[str, Any]:
    """What the form of filters shows: of several types one may be left out, so each is a box of its own."""
    types = [one for one in TYPES if one in request.args.getlist("type")]
    level = request.args.get("level", LEVELS[0])
    return {
        "types": types or list(TYPES),
        "level": level if level in LEVELS else LEVELS[0],
        "instance": request.args.get("instance", ""),
    }


def _filters() -> dict[str, str]:
    """The same for the admin API."""
    chosen = _chosen()
    query = {"type": ",".join(chosen["types"]), "level": chosen["level"]}
    return {**query, "instance": chosen["instance"]} if chosen["instance"] else query
