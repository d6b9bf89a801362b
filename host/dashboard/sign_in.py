"""Signing in with an API key, and signing out."""

from __future__ import annotations

import secrets

from quart import Blueprint, Response, g, redirect, render_template, request, url_for

from host.dashboard.api import ApiError
from host.dashboard.guard import Reply, check_meant, cookie_name, rooms, session, set_cookie, visiting
from host.dashboard.mount import PREFIX

blueprint = Blueprint("session", __name__)

_FORM = "tenure-form"
"""The cookie whose value the form carries, too: there is no session yet that could have a token."""
_FORM_LIFE_S = 3600
KEY_CHARS_MAX = 200


@blueprint.get("/sign-in")
async def sign_in() -> Response:
    return await _form()


@blueprint.post("/sign-in")
async def try_key() -> Reply:
    visitor, attempts = visiting(), rooms().attempts
    if wait_s := attempts.wait_s(visitor.address):
        sentence = f"Too many keys that are not known came from your address. Try again in {wait_s} seconds."
        return await _form(429, sentence, {"retry-after": str(wait_s)})
    try:
        await check_meant(request.cookies.get(cookie_name(_FORM), ""))
    except ApiError:
        return await _form(403, "This form was open for too long, or your browser keeps no cookies. Try again.")
    key = (await request.form).get("key", "").strip()[:KEY_CHARS_MAX]
    try:
        await rooms().api.ask(key, "GET", "/whoami")
    except ApiError as error:
        if error.status == 401:
            attempts.failed(visitor.address)
        return await _form(error.status, " ".join(error.sentences))
    response = redirect(_wanted(), 303)
    set_cookie(response, "tenure", rooms().sessions.begin(key))
    set_cookie(response, _FORM, "", 0)
    return response


@blueprint.post("/sign-out")
async def sign_out() -> Reply:
    rooms().sessions.end(request.cookies.get(cookie_name(), ""))
    session().notices.clear()
    response = redirect(url_for("session.sign_in"), 303)
    set_cookie(response, "tenure", "", 0)
    return response


async def _form(status: int = 200, error: str = "", headers: dict[str, str] | None = None) -> Response:
    token = request.cookies.get(cookie_name(_FORM)) or secrets.token_urlsafe(32)
    g.form_token = token
    ended = "ended" in request.args and not error
    page = await render_template("sign_in.html", error=error, ended=ended, encrypted=visiting().encrypted)
    response = Response(page, status, headers, content_type="text/html; charset=utf-8")
    set_cookie(response, _FORM, token, _FORM_LIFE_S)
    return response


def _wanted() -> str:
    """The page that was asked for before: one of the dashboard's, whoever made the link."""
    path = request.args.get("next", "")
    return path if path.startswith(f"{PREFIX}/") and path.isprintable() and "\\" not in path else f"{PREFIX}/"
