"""The admin API as a Quart application: `create_admin_app(services)` is an ASGI callable for Hypercorn.

A blueprint for each noun; this module only puts them together with what holds for every request: a request id, a key
that may do it, a reply that is kept if one asks for that, errors in one shape. The application holds no state of its
own.
"""

from __future__ import annotations

from quart import Quart, g
from quart.json.provider import DefaultJSONProvider
from quart.wrappers import Response

from host.admin import (
    actors,
    alarms,
    backups,
    domains,
    functions,
    keys,
    logs,
    metrics,
    openapi,
    problems,
    prometheus,
    quotas,
    secrets,
    status,
    tenants,
    versions,
)
from host.admin.access import check_declared
from host.admin.auth import authorize
from host.admin.bodies import AdminRequest, drain
from host.admin.idempotency import claim_request, give_up, keep_reply
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
    for step in (_begin, authorize, claim_request):
        app.before_request(step)
    app.after_request(_end)
    app.teardown_request(give_up)
    problems.install(app)
    of_functions = (functions, versions, domains, logs, metrics, quotas)
    for noun in (status, *of_functions, secrets, actors, alarms, keys, tenants, backups, openapi):
        app.register_blueprint(noun.blueprint, url_prefix=PREFIX)
    app.register_blueprint(prometheus.blueprint)
    check_declared(app)
    return app


def _begin() -> None:
    g.request_id = new_request_id()


async def _end(response: Response) -> Response:
    await keep_reply(response)
    await drain()
    if response.status_code == 204:
        response.headers.pop("content-type", None)
    response.headers["x-request-id"] = g.request_id
    response.headers["cache-control"] = "no-store"
    return response
