"""One store with one instance of a component in it, and the one export that may run in it.

The life of an instance: new -> instantiating -> idle <-> running -> closed. `begin` starts an export, `poll` lets it
run for a slice (to the next epoch tick at most) and says whether it has returned. Between exports no future and no
stack is held.

Ownership: the blocks that a pending future points at (arguments, error slot, function, instance) are members of this
object and outlive the future; the argument strings are kept in `_kept` until it is deleted, because the arguments
point straight into the Python bytes objects. `close` deletes the future, then the store, exactly once.

An instance is polled by one thread at a time (the scheduler sees to it); everything else happens on the loop.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import addressof, create_string_buffer
from typing import TYPE_CHECKING, Any

from host.sandbox import capi
from host.sandbox.capi import BOOL, STRING, U16, U32, VAL_SIZE
from host.sandbox.crossing import INSTANCES
from host.sandbox.native import crossing

if TYPE_CHECKING:
    from host.sandbox.call import Call
    from host.sandbox.engine import Component, Engine

CORE_INSTANCES_MAX, TABLES_MAX, MEMORIES_MAX = 64, 32, 4
"""QuickJS's component has 3 memories. The library holds each to the limit; `memories` sees to their sum at publish."""


class Export:
    """One function of the interface `tenure:edge/guest`, with the kinds of its parameters."""

    __slots__ = ("kinds", "name", "number")

    def __init__(self, number: int, name: str, *kinds: int) -> None:
        self.number = number
        self.name = name
        self.kinds = bytes(kinds)

    def __repr__(self) -> str:
        return f"<Export {self.name}>"


DESCRIBE = Export(0, "describe")
FETCH = Export(1, "fetch", STRING, STRING, STRING, STRING, BOOL)
INVOKE = Export(2, "invoke", STRING, STRING)
ALARM = Export(3, "alarm", U32)
RESOLVE = Export(4, "resolve", U32, STRING)
RESOLVE_RESPONSE = Export(5, "resolve-response", U32, U16, STRING, STRING, BOOL)
REJECT = Export(6, "reject", U32, STRING, STRING, STRING)
EXPORTS = (DESCRIBE, FETCH, INVOKE, ALARM, RESOLVE, RESOLVE_RESPONSE, REJECT)
_PARAMETERS_MAX = max(len(export.kinds) for export in EXPORTS)
_FUNC_SIZE, _INSTANCE_SIZE = 32, 16
_RESULT_AT = VAL_SIZE * _PARAMETERS_MAX
_ERROR_AT = _RESULT_AT + VAL_SIZE
_INSTANCE_AT = _ERROR_AT + 8
_FUNCS_AT = _INSTANCE_AT + _INSTANCE_SIZE
_BLOCK_SIZE = _FUNCS_AT + _FUNC_SIZE * len(EXPORTS)
_STRING = struct.Struct("<B7xQQ8x")


class Instance:
    """A store and what runs in it. `call` is the call on whose behalf the guest runs; imports answer from it."""

    __slots__ = (
        "__weakref__",
        "_at",
        "_block",
        "_context",
        "_found",
        "_future",
        "_kept",
        "_store",
        "call",
        "component",
        "engine",
        "failure",
        "operations",
        "ready",
        "trap",
    )

    def __init__(self, engine: Engine, component: Component, memory_bytes_max: int, table_elements_max: int) -> None:
        self.engine = engine
        self.component = component
        self.call: Call | None = None
        self.failure: BaseException | None = None
        self.trap: str | None = None
        self.operations = 0
        self.ready = False
        self._future: int | None = None
        self._kept: tuple[Any, ...] = ()
        self._found = 0
        self._block = create_string_buffer(_BLOCK_SIZE)
        self._at = addressof(self._block)
        store = capi.store_new(engine.pointer, None, None)
        self._store: int | None = store
        self._context: int = capi.store_context(store)
        capi.store_limiter(store, memory_bytes_max, table_elements_max, CORE_INSTANCES_MAX, TABLES_MAX, MEMORIES_MAX)
        capi.context_set_epoch_deadline(self._context, 1)
        capi.context_epoch_yield(self._context, 1)
        INSTANCES[self._context] = self
        component.instances += 1

    @property
    def running(self) -> bool:
        """True from `begin` until `poll` says that the export has returned."""
        return self._future is not None

    @property
    def closed(self) -> bool:
        return self._store is None

    def begin_instantiation(self) -> None:
        """Start instantiation (a guest's own start code may run in it); `poll` drives it like an export."""
        future = capi.linker_instantiate_async(
            self.engine.linker,
            self._context,
            self.component.pointer,
            self._at + _INSTANCE_AT,
            self._at + _ERROR_AT,
        )
        capi.context_set_epoch_deadline(self._context, 1)
        self._started(future)

    def begin(self, export: Export, parameters: tuple[Any, ...]) -> None:
        """Start `export`. The instance must be ready and not running."""
        if self._future is not None or not self.ready:
            raise RuntimeError("an instance runs one export at a time")
        function = self._at + _FUNCS_AT + _FUNC_SIZE * export.number
        if not self._found >> export.number & 1:
            index = self.component.export_index(export.number)
            if not index or not capi.instance_get_func(self._at + _INSTANCE_AT, self._context, index, function):
                raise RuntimeError(f"the component has no export {export.name}")
            self._found |= 1 << export.number
        future = crossing.begin(
            function,
            self._context,
            self._at,
            export.kinds,
            parameters,
            self._at + _RESULT_AT,
            1 if export is DESCRIBE else 0,
            self._at + _ERROR_AT,
        )
        self._kept = parameters
        self._started(future)

    def _started(self, future: int) -> None:
        self._future = future
        self.engine.fibers += 1
        self.engine.wake()

    def poll(self) -> bool:
        """Let the guest run, for one epoch tick at most. True when it has returned or trapped (then see `trap`)."""
        assert self._future is not None
        error = crossing.poll(self._future, self._at + _ERROR_AT)
        if error is None:
            return False
        self._ended()
        if error:
            self.trap = capi.take_error(error)
        elif not self.ready:
            self.ready = True
        return True

    def take_description(self) -> bytes:
        """What DESCRIBE returned. To be called once, after it has."""
        kind, size, data = _STRING.unpack_from(self._block, _RESULT_AT)
        if kind != STRING:
            return b""
        text = ctypes.string_at(data, size)
        capi.val_delete(self._at + _RESULT_AT)
        return text

    def _ended(self) -> None:
        self._future = None
        self.engine.fibers -= 1
        self._kept = ()

    def close(self) -> None:
        """Drop the guest wherever it is. Safe to call twice; never while another thread polls."""
        if self._store is None:
            return
        if self._future is not None:
            capi.future_delete(self._future)
            self._ended()
            error = ctypes.c_uint64.from_buffer(self._block, _ERROR_AT)
            if error.value:
                capi.take_error(error.value)
                error.value = 0
        store, self._store = self._store, None
        del INSTANCES[self._context]
        capi.store_delete(store)
        self.call = None
        self.component.instance_closed()
