"""From an error to the reply a client sees: `{"errors": [{"code", "title", "detail"}]}`.

The message of an actor's error is the tenant's: it stays in the function's log, and the client gets the request id to
ask about. Every other error's detail is in the host's own words, made to be shown (`host.invoke.pool` never puts what
a handler threw into one).
"""

from __future__ import annotations

from math import ceil

import orjson

from host.model.errors import ActorError, HostError, NotFound, TenureError, UsageError


class HeadersTooLarge(UsageError):
    code, title, http_status = "headers_too_large", "Headers too large", 431


class NotImplementedHere(HostError):
    code, title, http_status = "not_implemented", "Not implemented", 501


def unknown_host() -> NotFound:
    return NotFound("No function lives at this host name. Check the URL that `tenure ship` printed.")


def problem(error: TenureError, request_id: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """(status, headers, JSON body) of an error; the headers have neither content-length nor x-request-id."""
    if isinstance(error, ActorError):
        details: tuple[str, ...] = (f"The function failed. Its log says why, under request id {request_id.decode()}.",)
    else:
        details = error.details
    body = orjson.dumps({"errors": [{"code": error.code, "title": error.title, "detail": each} for each in details]})
    headers = [(b"content-type", b"application/json")]
    if error.http_status in (429, 503):
        headers.append((b"retry-after", b"%d" % max(ceil(error.retry_after_s), 1)))
    return error.http_status, headers, body


def internal_error(request_id: bytes) -> TenureError:
    return TenureError(f"The host failed on this request; its log says why, under request id {request_id.decode()}.")
