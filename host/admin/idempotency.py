"""Idempotency-Key on every route that changes something: before it the request is claimed, after it the reply kept.

What is kept, how and for how long is `registry.replies`. A reply of the 500 family is not kept: the request may be
tried again with the same key. Bodies are read here, but for bundles, which are claimed once they are in a file.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from quart import g, request
from quart.wrappers import Response

from host.admin.auth import bearer, caller
from host.admin.requests import small_body
from host.admin.services import services
from host.registry.replies import Claim, Reply

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
UPLOADS = frozenset({"versions.ship", "actors.import_actors", "actors.import_tenant"})
"""Endpoints that take more than a small body; they call `claim_upload`."""


async def claim_request() -> Response | None:
    """Before the request: the reply to it if it was carried out before."""
    if request.url_rule is None or request.method in ("GET", "HEAD", "OPTIONS") or request.endpoint in UPLOADS:
        return None
    if HEADER not in request.headers:
        return None
    return await _claim(await small_body())


async def claim_upload(upload: Path) -> Response | None:
    """The same for a body that is in a file, which is removed unless the request is to be carried out."""
    if HEADER not in request.headers:
        return None
    reply: Response | None = None
    try:
        digest = await asyncio.to_thread(_digest, upload)
        reply = await _claim(digest)
    finally:
        if reply is not None or "claim" not in g:
            await asyncio.to_thread(upload.unlink, missing_ok=True)
    return reply


async def _claim(body: bytes) -> Response | None:
    name = f"{request.method} {request.full_path}".encode()
    key = request.headers[HEADER]
    claimed = await services().registry.replies.claim(caller().tenant, bearer(), key, name, body)
    if isinstance(claimed, Claim):
        g.claim = claimed
        return None
    response = Response(claimed.body, status=claimed.status, content_type=claimed.content_type or None)
    response.headers[REPLAYED] = "true"
    return response


async def keep_reply(response: Response) -> None:
    """After the request. Raises StorageBroken, Unavailable: then the reply must not be sent."""
    claim: Claim | None = g.pop("claim", None)
    if claim is None:
        return
    replies = services().registry.replies
    if response.status_code >= 500:
        await replies.release(claim)
    else:
        body = await response.get_data(as_text=False)
        await replies.settle(claim, Reply(response.status_code, response.headers.get("content-type", ""), body))


async def give_up(_error: BaseException | None) -> None:
    """At the very end: a request that was cut off may or may not have been carried out."""
    claim: Claim | None = g.pop("claim", None)
    if claim is not None:
        services().registry.replies.abandon(claim)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
