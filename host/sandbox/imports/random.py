"""`tenure:edge/random`: the operating system's random bytes."""

from __future__ import annotations

import os
from base64 import b64encode

from host.sandbox.call import Call
from host.sandbox.capi import STRING, U32
from host.sandbox.imports.callback import host_function

BYTES_MAX = 65_536


@host_function("random", "bytes", U32, result=STRING)
def bytes_(_call: Call, count: int) -> bytes:
    if count > BYTES_MAX:
        raise ValueError(f"at most {BYTES_MAX} random bytes at a time")
    return b64encode(os.urandom(count))
