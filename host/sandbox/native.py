"""Which of the two ways across is in use: `_crossing`, built from `_crossing.c` when the host was installed, or else
the plain `crossing`. A machine without a C compiler loses speed and nothing else. `TENURE_PLAIN=1` asks for the plain
way.

A compiled file that belongs to another text of `_crossing.c` is never used: it may read memory in another way than the
Python around it writes it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, Protocol

from host.sandbox import capi
from host.sandbox import crossing as plain
from host.sandbox.ports import Refusal
from host.telemetry import log

SOURCE = Path(__file__).with_name("_crossing.c")
_FUNCTIONS = (
    "wasmtime_component_func_call_async",
    "wasmtime_call_future_poll",
    "wasmtime_call_future_delete",
    "wasmtime_context_set_epoch_deadline",
    "wasm_byte_vec_new",
    "wasmtime_component_val_new",
    "wasmtime_component_valrecord_new_uninit",
    "wasmtime_error_new",
)

_log = log.get("sandbox")


class Crossing(Protocol):
    """The three functions of `crossing`, which see."""

    def begin(
        self, function: int, context: int, block: int, kinds: bytes, parameters: tuple[Any, ...],
        results: int, count: int, error: int, /,
    ) -> int: ...  # fmt: skip
    def poll(self, future: int, error: int, /) -> int | None: ...
    def host_function(
        self, name: str, kinds: bytes, result: int, answer: plain.Answer, /
    ) -> tuple[int, int, object]: ...


def _load() -> Crossing | None:
    if os.environ.get("TENURE_PLAIN"):
        return None
    try:
        module: Any = importlib.import_module("host.sandbox._crossing")
    except ImportError:
        return None
    if SOURCE.exists() and hashlib.sha256(SOURCE.read_bytes()).hexdigest() != module.SOURCE:
        _log.warn("native_part_is_stale", used="the plain one", help="install the host again to build it")
        return None
    module.setup(*map(capi.address_of, _FUNCTIONS), plain.INSTANCES, Refusal)
    found: Crossing = module
    return found


crossing: Crossing = _load() or plain
is_native = crossing is not plain
