"""Who is calling: a bearer key, which belongs to one tenant.

A caller sees its own tenant only. What belongs to another one is not there (404), so ids cannot be probed.
"""

from __future__ import annotations

from typing import cast

from quart import g, request

from host.admin.services import services
from host.model.errors import Unauthorized
from host.registry.records import ApiKeyRecord


def require_key() -> None:
    """Before every request. Raises Unauthorized."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Unauthorized('An API key is needed. Send it in the header "Authorization: Bearer KEY".')
    if scheme.lower() != "bearer":
        raise Unauthorized('The authorization header has to be "Bearer" and an API key.')
    record = services().registry.authenticate(key.strip())
    if record is None:
        raise Unauthorized("This API key is not known here. Check it, or get a new one from the host's operator.")
    g.api_key = record


def caller() -> ApiKeyRecord:
    """The key of the running request."""
    return cast(ApiKeyRecord, g.api_key)
