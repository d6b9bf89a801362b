"""`tenure:edge/log`: the guest's console. Lines wait in the call until its slice has ended."""

from __future__ import annotations

from typing import Any

from host.sandbox.capi import STRING
from host.sandbox.imports.callback import host_function, text


@host_function("log", "write", STRING, STRING, returns=False)
def write(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.log(text(fields, 1).decode(), text(fields, 4).decode())
