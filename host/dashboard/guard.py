"""What holds for every page: who is signed in, that a write was meant, and what a browser may do with the page.

- A page needs a session, whose key the admin API still knows; without one the visitor is sent to sign in.
- A write is a POST with the session's CSRF token. A function's page may be on the same site as the dashboard, where
  SameSite does not help; the token does, and `Sec-Fetch-Site` says so, too.
- No script or style runs that is not a file of the dashboard (CSP), and nobody frames a page.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from quart import Quart, current_app, g, redirect, request, url_for
from quart.wrappers import Response as QuartResponse
from werkzeug.wrappers import Response as PlainResponse

from host.dashboard import assets
from host.dashboard.api import Api, ApiError, Query
from host.dashboard.mount import PREFIX
from host.dashboard.sessions import LIFE_S, Session, Sessions
from host.dashboard.visitor import Network, Visitor, visitor
from host.model.attempts import Attempts
from host.model.clock import Clock

Reply = QuartResponse | PlainResponse | str | tuple[str, int]

EXTENSION = "tenure-dashboard"
OPEN = {"session.sign_in", "session.try_key", "root", assets.ENDPOINT}
"""Endpoints without a session."""
FRAGMENTS = "x-fragment"
"""A request with this header is a script's: it cannot use a page to sign in on."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Rooms:
    """What the pages work with."""

    def __init__(self, api: Api, clock: Clock, proxies: tuple[Network, ...]) -> None:
        self.api = api
        self.clock = clock
        self.proxies = proxies
        self.sessions = Sessions(clock)
        self.attempts = Attempts(clock)


def rooms() -> Rooms:
    return cast(Rooms, current_app.extensions[EXTENSION])


def session() -> Session:
    """The running request's."""
    return cast(Session, g.session)


async def ask(method: str, path: str, query: Query | None = None, body: Mapping[str, Any] | str | None = None) -> Any:
    """The admin API, as who is signed in. Raises ApiError."""
    return await rooms().api.ask(session().key, method, path, query, body)


def visiting() -> Visitor:
    peer = str((request.scope.get("client") or ("",))[0])
    return visitor(peer, request.scope["scheme"], request.scope["headers"], rooms().proxies)


def install(app: Quart) -> None:
    app.before_request(_enter)
    app.after_request(_seal)


async def _enter() -> Reply | None:
    if request.endpoint in OPEN:
        return None
    token = request.cookies.get(cookie_name(), "")
    found = rooms().sessions.find(token) if token else None
    if found is None:
        return _to_sign_in(had_one=bool(token))
    g.session = found
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        await check_meant(found.csrf)
    if request.endpoint == "session.sign_out":
        return None
    try:
        g.me = await ask("GET", "/whoami")
    except ApiError as error:
        if error.status != 401:
            raise
        rooms().sessions.end(token)
        return _to_sign_in(had_one=True)
    return None


async def check_meant(token: str) -> None:
    """Raises ApiError unless the form that was sent carries this token and comes from the dashboard's own pages."""
    sent = (await request.form).get("csrf", "")
    from_here = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if not from_here or not token or not secrets.compare_digest(sent.encode(errors="replace"), token.encode()):
        raise ApiError(
            403, ["This form was not sent from the dashboard, or the page is old. Load the page and try again."]
        )


def _to_sign_in(*, had_one: bool) -> Reply:
    """A page that was asked for is shown after signing in."""
    if FRAGMENTS in request.headers:
        return "", 401
    arguments = {"ended": "1"} if had_one else {}
    if request.method == "GET" and request.path != url_for("functions.overview"):
        arguments["next"] = request.full_path.rstrip("?")
    query = f"?{urlencode(arguments)}" if arguments else ""
    return redirect(url_for("session.sign_in") + query, 303)


# --- cookies ----------------------------------------------------------------------------------------------------------


def cookie_name(base: str = "tenure") -> str:
    """Over TLS a name that no other host of the domain, such as a function's, can set a cookie under."""
    return f"__Host-{base}" if visiting().encrypted else base


def set_cookie(response: PlainResponse | QuartResponse, base: str, value: str, life_s: float = LIFE_S) -> None:
    encrypted = visiting().encrypted
    response.set_cookie(
        cookie_name(base),
        value,
        max_age=int(life_s),
        path="/" if encrypted else PREFIX,
        secure=encrypted,
        httponly=True,
        samesite="Strict",
    )


async def _seal(response: QuartResponse) -> QuartResponse:
    response.headers.update(HEADERS)
    if request.endpoint != assets.ENDPOINT:
        response.headers["cache-control"] = "no-store"
    elif "v" in request.args:  # another one for another content
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
    else:
        response.headers["cache-control"] = "no-cache"
    return response
