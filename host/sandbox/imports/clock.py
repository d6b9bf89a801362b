"""`tenure:edge/clock`: the host's clock, so that tests with a manual clock move the guest's time too."""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import F64
from host.sandbox.imports.callback import host_function


@host_function("clock", "now", result=F64)
def now(call: Call) -> float:
    return float(int(call.clock.now()))


@host_function("clock", "monotonic", result=F64)
def monotonic(call: Call) -> float:
    return int(call.clock.monotonic() * 10_000) / 10
