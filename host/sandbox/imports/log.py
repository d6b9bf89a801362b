"""`tenure:edge/log`: the guest's console. Lines wait in the call until its slice has ended."""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import STRING
from host.sandbox.imports.callback import host_function


@host_function("log", "write", STRING, STRING)
def write(call: Call, level: bytes, message: bytes) -> None:
    call.log(level.decode(), message.decode())
