"""`tenure:edge/clock`: the host's clock, so that tests with a manual clock move the guest's time too."""

from __future__ import annotations

from typing import Any

from host.sandbox import capi
from host.sandbox.imports.callback import host_function


@host_function("clock", "now")
def now(call: Any, _fields: tuple[Any, ...], results: int) -> None:
    capi.set_f64(results, float(int(call.clock.now())))


@host_function("clock", "monotonic")
def monotonic(call: Any, _fields: tuple[Any, ...], results: int) -> None:
    capi.set_f64(results, call.clock.monotonic() * 1000)
