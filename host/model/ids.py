"""Identifiers: how they are made and what they look like.

A function id is a UUIDv7 in its canonical text (36 characters), so ids sort by their time of creation.
Its first ten hexadecimal digits and the function's name are the label of the function's host name.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from typing import NamedTuple

FUNCTION_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")


class ActorId(NamedTuple):
    """One actor: (tenant id, actor type, name). Shape: text, text, text; the name is any non-empty UTF-8 up to 1
    KiB.
    """

    tenant: str
    type: str
    name: str


def new_function_id() -> str:
    """A UUIDv7: 48 bits of milliseconds since 1970, then random bits."""
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def host_label(function_name: str, function_id: str) -> str:
    """The first label of the function's host name, such as `account-0198c2c58a`."""
    return f"{function_name}-{function_id.replace('-', '')[:10]}"
