"""`tenure:edge/outbound`: HTTP requests to the outside, as operations. Where they may go is the world's to say."""

from __future__ import annotations

from typing import Any

from host.sandbox import capi
from host.sandbox.capi import BOOL, STRING
from host.sandbox.imports.callback import host_function, text


@host_function("outbound", "fetch", STRING, STRING, STRING, STRING, BOOL, STRING)
def fetch(call: Any, fields: tuple[Any, ...], results: int) -> None:
    strings = (text(fields, 1 + 3 * index) for index in range(4))
    arguments = (*strings, fields[13], text(fields, 15))
    capi.set_u32(results, call.start_operation(call.world.outbound, arguments))
