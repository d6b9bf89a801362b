"""`tenure:edge/timers`: an operation that is done after some milliseconds. It ends with the call that started it."""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import F64, U32
from host.sandbox.imports.callback import host_function

MILLISECONDS_MAX = 2**31 - 1
"""The longest timer a browser knows."""


@host_function("timers", "start", F64, result=U32)
def start(call: Call, milliseconds: float) -> int:
    if not 0 < milliseconds <= MILLISECONDS_MAX:  # also NaN, as the web platform does
        milliseconds = 0.0
    return call.start_operation(call.start_timer, (milliseconds,))


@host_function("timers", "cancel", U32)
def cancel(call: Call, operation: int) -> None:
    call.cancel_timer(operation)
