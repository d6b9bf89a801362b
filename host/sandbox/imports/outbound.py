"""`tenure:edge/outbound`: HTTP requests to the outside, as operations. Where they may go is the world's to say."""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import BOOL, STRING, U32
from host.sandbox.imports.callback import host_function


@host_function("outbound", "fetch", STRING, STRING, STRING, STRING, BOOL, STRING, result=U32)
def fetch(call: Call, *arguments: bytes | bool) -> int:
    return call.start_operation(call.world.outbound, arguments)
