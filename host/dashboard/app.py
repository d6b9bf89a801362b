"""The dashboard as a Quart application: a blueprint for each noun, as in the admin API, whose in-process client it is.

Pages are made on the server and work without a script; what is live is a part of a page that a script asks for again.
Templates escape everything; nothing is marked as safe that holds a text from elsewhere.
"""

from __future__ import annotations

from typing import Any

from quart import Quart, g, redirect, render_template, request, url_for
from quart.wrappers import Response
from werkzeug.exceptions import HTTPException

from host.dashboard import (
    actors,
    alarms,
    assets,
    backups,
    domains,
    functions,
    guard,
    logs,
    operators,
    questions,
    secrets,
    settings,
    sign_in,
    usage,
    versions,
)
from host.dashboard.api import Api, ApiError
from host.dashboard.guard import EXTENSION, FRAGMENTS, Reply, Rooms
from host.dashboard.mount import PREFIX, AsgiApp
from host.dashboard.visitor import Network
from host.dashboard.words import Words
from host.model.clock import Clock
from host.telemetry.log import get

FORM_BYTES_MAX = 4 << 20
"""A value of an actor and what a form adds to it; the admin API has the limit of the value."""
SCOPES = ("read", "deploy", "admin")
TITLES = {
    403: "Not allowed",
    404: "Not found",
    409: "Not done",
    413: "Too large",
    429: "Too often",
    503: "Not just now",
}

_log = get("dashboard")


def create_dashboard(admin: AsgiApp, clock: Clock, proxies: tuple[Network, ...] = ()) -> Quart:
    """`admin` is the admin API. `proxies` are those whose `X-Forwarded-*` headers are believed."""
    app = Quart("host.dashboard", static_folder=None)
    app.extensions[EXTENSION] = Rooms(Api(admin), clock, proxies)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = FORM_BYTES_MAX
    app.url_map.strict_slashes = False
    Words(clock).install(app.jinja_env.filters)
    app.jinja_env.globals["questions"] = questions
    assets.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(_known_to_all)
    guard.install(app)
    app.register_error_handler(ApiError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)
    of_functions = (functions, versions, logs, domains, settings)
    for noun in (sign_in, *of_functions, actors, alarms, secrets, usage, operators, backups):
        app.register_blueprint(noun.blueprint, url_prefix=PREFIX)
    app.add_url_rule("/", "root", _to_dashboard)
    return app


async def _to_dashboard() -> Reply:
    return redirect(url_for("functions.overview"), 303)


def _known_to_all() -> dict[str, Any]:
    session, me = g.get("session"), g.get("me")
    notices = []
    if session is not None and FRAGMENTS not in request.headers:
        notices, session.notices = session.notices, []
    return {
        "me": me,
        "csrf": session.csrf if session is not None else g.get("form_token", ""),
        "notices": notices,
        "may": lambda scope: me is not None and SCOPES.index(me["scope"]) >= SCOPES.index(scope),
        "operator": me is not None and me["role"] == "operator",
    }


# --- errors -----------------------------------------------------------------------------------------------------------


async def _refused(error: ApiError) -> Response:
    page = await render_template(
        "error.html", title=TITLES.get(error.status, "That did not work"), sentences=error.sentences
    )
    response = Response(page, error.status, content_type="text/html; charset=utf-8")
    if error.retry_after:
        response.headers["retry-after"] = error.retry_after
    return response


async def _http(error: HTTPException) -> Response:
    """What Quart itself refuses."""
    sentences = {
        404: "There is no such page. The navigation leads to those that there are.",
        405: "This page does not take what was sent to it.",
        413: "What was sent is too large.",
    }
    status = error.code or 500
    if status >= 500:
        return await _unexpected(error)
    return await _refused(ApiError(status, [sentences.get(status, "The request is malformed.")]))


async def _unexpected(error: Exception) -> Response:
    _log.exception("page_failed", error, path=request.path)
    return await _refused(ApiError(500, ["The host failed on this page; its log says why."]))
