"""The admin API as a Quart application: `create_admin_app(services)` is an ASGI callable for Hypercorn.

A blueprint for each noun; this module only puts them together with what holds for every request: a key, a request id,
errors in one shape. The application holds no state of its own.
"""

from __future__ import annotations

from quart import Quart, g
from quart.json.provider import DefaultJSONProvider
from quart.wrappers import Response

from host.admin import alarms, functions, problems, status, versions
from host.admin.bodies import AdminRequest, drain
from host.admin.requests import new_request_id
from host.admin.services import EXTENSION, AdminServices

PREFIX = "/v1"


def create_admin_app(services: AdminServices) -> Quart:
    app = Quart("host.admin", static_folder=None)
    app.extensions[EXTENSION] = services
    app.request_class = AdminRequest
    app.config["MAX_CONTENT_LENGTH"] = services.publisher.limits.compressed_bytes_max
    if isinstance(app.json, DefaultJSONProvider):
        app.json.sort_keys = False  # fields come in the order that a person reads them in
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(_end)
    problems.install(app)
    for blueprint in (status.blueprint, functions.blueprint, versions.blueprint, alarms.blueprint):
        app.register_blueprint(blueprint, url_prefix=PREFIX)
    return app


def _begin() -> None:
    g.request_id = new_request_id()


async def _end(response: Response) -> Response:
    await drain()
    if response.status_code == 204:
        response.headers.pop("content-type", None)
    response.headers["x-request-id"] = g.request_id
    response.headers["cache-control"] = "no-store"
    return response
