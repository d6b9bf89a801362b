"""Reading requests: small JSON bodies with checked fields, and uploads that go to a file as they come in."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson
from quart import g, request

from host.admin.bodies import body
from host.admin.services import services
from host.model.errors import TooLarge, UsageError
from host.model.limits import BundleLimits
from host.registry.bundle import too_large

JSON_BYTES_MAX = 64 << 10
LARGE_BODIES = {"actors.put_actor_key": 2 << 20, "actors.invoke_actor": 12 << 20, "actors.fetch_actor": 20 << 20}
"""Endpoints that take values of guests: as much as a guest may be given, and what base64 or JSON adds to it."""
_WRITE_BYTES = 1 << 20

C = TypeVar("C", bound=str)

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


async def read_json(known: Collection[str]) -> dict[str, Any]:
    """The body, a JSON object with no other fields than `known`. Raises UsageError, TooLarge."""
    try:
        value = orjson.loads(await small_body())
    except orjson.JSONDecodeError as error:
        raise UsageError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError('The body has to be a JSON object, such as {"name": "account"}.')
    if unknown := [name for name in value if name not in known]:
        raise UsageError(f"Unknown fields: {', '.join(unknown)[:200]}. This route takes: {', '.join(known)}.")
    return value


def text_field(fields: dict[str, Any], name: str) -> str:
    """A string that has to be there. Raises UsageError."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f'The field "{name}" has to be a non-empty string.')
    return value


def flag_field(fields: dict[str, Any], name: str) -> bool:
    """true or false; false when it is absent. Raises UsageError."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f'The field "{name}" has to be true or false.')
    return value


def number_field(fields: dict[str, Any], name: str) -> int:
    """A whole number above 0 that has to be there. Raises UsageError."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise UsageError(f'The field "{name}" has to be a whole number above 0.')
    return value


def choice_field(fields: dict[str, Any], name: str, known: Sequence[C], default: C) -> C:
    """One of `known`; the default when it is absent. Raises UsageError."""
    value = fields.get(name, default)
    for one in known:
        if one == value:
            return one
    raise UsageError(f'The field "{name}" has to be one of: {", ".join(known)}.')


def moment(value: object, name: str) -> float:
    """Milliseconds since 1970 of an ISO 8601 text with an offset. Raises UsageError."""
    try:
        found = datetime.fromisoformat(str(value))
        if found.tzinfo is not None:
            return found.timestamp() * 1000
    except (ValueError, OverflowError):
        pass
    raise UsageError(f'"{name}" has to be a time in UTC such as "2027-01-31T00:00:00Z".')


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
