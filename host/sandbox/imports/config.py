"""`tenure:edge/config`: the instance's environment, one JSON text made when the instance was."""

from __future__ import annotations

from typing import Any

from host.sandbox import capi
from host.sandbox.imports.callback import host_function


@host_function("config", "get")
def get(call: Any, _fields: tuple[Any, ...], results: int) -> None:
    capi.set_string(results, call.world.config)
