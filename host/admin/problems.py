"""From an error to its reply: `{"errors": [{"code", "title", "detail"}]}`, one entry for each mistake.

The errors of `model.errors` are made to be shown. Anything else is a fault of the host: it is logged with the request's
id, and the caller is told that id and nothing more.
"""

from __future__ import annotations

from math import ceil

import werkzeug.exceptions
from quart import Quart, g, jsonify
from quart.wrappers import Response
from werkzeug.exceptions import HTTPException

from host.admin.services import services
from host.model.errors import MethodNotAllowed, NotFound, RequestTimeout, TenureError, TooLarge, UsageError
from host.registry.bundle import too_large
from host.telemetry.log import get

_log = get("admin")


def install(app: Quart) -> None:
    app.register_error_handler(TenureError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _known(error: TenureError) -> Response:
    errors = [{"code": error.code, "title": error.title, "detail": detail} for detail in error.details]
    response = jsonify({"errors": errors})
    response.status_code = error.http_status
    if error.http_status == 401:
        response.headers["www-authenticate"] = "Bearer"
    elif error.http_status in (429, 503):
        response.headers["retry-after"] = str(max(ceil(error.retry_after_s), 1))
    return response


def _http(error: HTTPException) -> Response:
    """What Quart itself refuses: no such route, wrong method, a body over the limit, a malformed request."""
    status = error.code or 500
    if status == NotFound.http_status:
        return _known(NotFound("There is no such route. See docs/admin-api.md."))
    if status == TooLarge.http_status:
        return _known(too_large(services().publisher.limits))
    if isinstance(error, werkzeug.exceptions.MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        response = _known(MethodNotAllowed(f"This route takes {allowed}."))
        response.headers["allow"] = allowed
        return response
    if status == RequestTimeout.http_status:
        return _known(RequestTimeout("The body did not arrive in time. Send it again on a better connection."))
    if status >= 500:
        return _unexpected(error)
    return _known(UsageError("The request is malformed; check its headers and body."))


def _unexpected(error: Exception) -> Response:
    _log.exception("request_failed", error, request=g.request_id)
    detail = f"The host failed on this request; its log says why, under request id {g.request_id}."
    return _known(TenureError(detail))
