"""`tenure:edge/timers`: an operation that is done after some milliseconds. It ends with the call that started it."""

from __future__ import annotations

from typing import Any

from host.sandbox import capi
from host.sandbox.capi import F64, U32
from host.sandbox.imports.callback import host_function

MILLISECONDS_MAX = 2**31 - 1
"""The longest timer a browser knows."""


@host_function("timers", "start", F64)
def start(call: Any, fields: tuple[Any, ...], results: int) -> None:
    milliseconds = fields[1] if 0 < fields[1] <= MILLISECONDS_MAX else 0.0  # also for NaN, as the web platform does
    capi.set_u32(results, call.start_operation(call.start_timer, (milliseconds,)))


@host_function("timers", "cancel", U32, returns=False)
def cancel(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.cancel_timer(fields[1])
