"""Who is calling, and whether they may: a bearer key, which belongs to one tenant, held against `access`."""

from __future__ import annotations

from typing import cast

from quart import g, request

from host.admin.access import need_of
from host.admin.services import services
from host.model.errors import Forbidden, TooManyAttempts, Unauthorized
from host.registry.records import ApiKeyRecord


def authorize() -> None:
    """Before every request that is for a route. Raises Unauthorized, TooManyAttempts, Forbidden."""
    if request.url_rule is None:
        return  # it is answered that there is no such route
    if request.url_rule.rule == "/metrics" and services().metrics_open:
        return
    key, g.bearer = _authenticated()
    need = need_of(request.url_rule, request.method)
    if need.operator and key.role != "operator":
        raise Forbidden("This is for the host's operator: it needs an operator's key.")
    if not key.allows(need.scope):
        raise Forbidden(
            f"This needs a key with the scope {need.scope!r}; yours, {key.label!r}, has {key.scope!r}. "
            "`tenure auth api-key create` makes another one."
        )
    g.api_key = key


def _authenticated() -> tuple[ApiKeyRecord, str]:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Unauthorized('An API key is needed. Send it in the header "Authorization: Bearer KEY".')
    if scheme.lower() != "bearer":
        raise Unauthorized('The authorization header has to be "Bearer" and an API key.')
    bearer = text.strip()
    registry, tries = services().registry, services().tries
    address = request.remote_addr or ""
    if not tries.may(address, bearer):
        raise TooManyAttempts("Very many API keys that are not known here came from your address. Wait a second.")
    key = registry.authenticate(bearer)
    tenant = None if key is None else registry.accounts.tenant(key.tenant)
    if key is None or tenant is None or tenant.status == "deleting":
        tries.failed(address)
        raise Unauthorized(
            "This API key is not known here: it is mistyped, was revoked or has expired. "
            "Get another one from your tenant's or the host's operator."
        )
    tries.worked(address, bearer)
    if tenant.status == "suspended":
        raise Forbidden(f"The tenant {tenant.id!r} is suspended. Ask the host's operator.")
    return key, bearer


def caller() -> ApiKeyRecord:
    """The key of the running request."""
    return cast(ApiKeyRecord, g.api_key)


def bearer() -> str:
    """The running request's key as it was sent."""
    return cast(str, g.bearer)
