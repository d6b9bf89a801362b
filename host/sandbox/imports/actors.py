"""`tenure:edge/actors`: calls of other actors, as operations. They start when the guest's slice has ended, on the
loop.
"""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import BOOL, STRING, U32
from host.sandbox.imports.callback import host_function


@host_function("actors", "invoke", STRING, STRING, STRING, STRING, result=U32)
def invoke(call: Call, *arguments: bytes) -> int:
    return call.start_operation(call.world.invoke, arguments)


@host_function("actors", "fetch", STRING, STRING, STRING, STRING, STRING, STRING, BOOL, result=U32)
def fetch(call: Call, *arguments: bytes | bool) -> int:
    return call.start_operation(call.world.fetch, arguments)
