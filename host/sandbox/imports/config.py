"""`tenure:edge/config`: the instance's environment, one JSON text made when the instance was."""

from __future__ import annotations

from host.sandbox.call import Call
from host.sandbox.capi import STRING
from host.sandbox.imports.callback import host_function


@host_function("config", "get", result=STRING)
def get(call: Call) -> bytes:
    return call.world.config
