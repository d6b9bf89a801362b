"""`tenure:edge/actors`: calls of other actors, as operations. They start when the guest's slice has ended, on the
loop.
"""

from __future__ import annotations

from typing import Any

from host.sandbox import capi
from host.sandbox.capi import BOOL, STRING
from host.sandbox.imports.callback import host_function, text


@host_function("actors", "invoke", STRING, STRING, STRING, STRING)
def invoke(call: Any, fields: tuple[Any, ...], results: int) -> None:
    arguments = (text(fields, 1), text(fields, 4), text(fields, 7), text(fields, 10))
    capi.set_u32(results, call.start_operation(call.world.invoke, arguments))


@host_function("actors", "fetch", STRING, STRING, STRING, STRING, STRING, STRING, BOOL)
def fetch(call: Any, fields: tuple[Any, ...], results: int) -> None:
    arguments = (*(text(fields, 1 + 3 * index) for index in range(6)), fields[19])
    capi.set_u32(results, call.start_operation(call.world.fetch, arguments))
