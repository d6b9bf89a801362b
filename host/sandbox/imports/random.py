"""`tenure:edge/random`: the operating system's random bytes."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

from host.sandbox import capi
from host.sandbox.capi import U32
from host.sandbox.imports.callback import host_function

BYTES_MAX = 65_536


@host_function("random", "bytes", U32)
def bytes_(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    if fields[1] > BYTES_MAX:
        raise ValueError(f"at most {BYTES_MAX} random bytes at a time")
    capi.set_string(results, b64encode(os.urandom(fields[1])))
