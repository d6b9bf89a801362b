"""Reading requests: small bodies, which `contract` checks, and uploads that go to a file as they come in."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import cast

from quart import g, request

from host.admin.bodies import body
from host.admin.services import services
from host.model.errors import TooLarge
from host.model.limits import BundleLimits
from host.registry.bundle import too_large

JSON_BYTES_MAX = 64 << 10
LARGE_BODIES = {"actors.put_actor_key": 2 << 20, "actors.invoke_actor": 12 << 20, "actors.fetch_actor": 20 << 20}
"""Endpoints that take values of guests: as much as a guest may be given, and what base64 or JSON adds to it."""
_WRITE_BYTES = 1 << 20


_process = os.urandom(6).hex()
_count = itertools.count(1)


def new_request_id() -> str:
    """Unique on this host and across its restarts."""
    return f"{_process}-a{next(_count):x}"


async def small_body() -> bytes:
    """The body, read once and kept. Raises TooLarge."""
    if "small_body" not in g:
        data = bytearray()
        limit = LARGE_BODIES.get(request.endpoint or "", JSON_BYTES_MAX)
        async for chunk in body():
            data += chunk
            if len(data) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes.")
        g.small_body = bytes(data)
    return cast(bytes, g.small_body)


async def receive_bundle() -> Path:
    """The request's body, a bundle or as large as one, in a new file, which belongs to the caller. Raises TooLarge;
    then nothing is left behind.
    """
    publisher = services().publisher
    limits = publisher.limits
    if (request.content_length or 0) > limits.compressed_bytes_max:
        raise too_large(limits)
    path = await asyncio.to_thread(publisher.reserve_path)
    try:
        await _receive(path, limits)
    except BaseException:  # the client going away cancels this
        path.unlink(missing_ok=True)
        raise
    return path


async def _receive(path: Path, limits: BundleLimits) -> None:
    waiting = bytearray()
    async for chunk in body():
        if body().too_large:
            raise too_large(limits)
        waiting += chunk
        if len(waiting) >= _WRITE_BYTES:
            await asyncio.to_thread(_append, path, bytes(waiting))
            waiting.clear()
    if body().too_large:
        raise too_large(limits)
    await asyncio.to_thread(_append, path, bytes(waiting))


def _append(path: Path, data: bytes) -> None:
    """Opens the file each time: a thread that outlives its cancelled request must not hold a descriptor of others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
