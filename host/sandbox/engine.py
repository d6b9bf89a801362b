"""The engine that all guests of a process share: its configuration, the linker with our imports, and the epoch ticker.

The ticker increments the epoch every `TICK_S`; a guest that runs when the epoch moves yields, so no guest holds a
thread longer than that. While there are guests that need to be cut into slices it ticks every `SHORT_TICK_S`, so that
others wait less; always to do so would cost those that are done within a slice. It sleeps while no guest runs.
"""

from __future__ import annotations

import threading
import time
from ctypes import addressof, c_void_p, string_at
from pathlib import Path

from host.sandbox import capi
from host.sandbox.configuration import FIBER_STACK_BYTES, WASM_STACK_BYTES
from host.sandbox.crossing import INSTANCES
from host.sandbox.imports import TABLE
from host.sandbox.instance import EXPORTS

TICK_S, SHORT_TICK_S = 0.005, 0.002
SHORT_TICKS = 50
IDLE_TICKS = 100
GUEST_INTERFACE = b"tenure:edge/guest@0.1.0"


class SandboxError(RuntimeError):
    """The library refused something that is not the tenant's doing, or a component is not usable."""


def _checked(error: int | None) -> None:
    if error:
        raise SandboxError(capi.take_error(error))


class Component:
    """A compiled component, ready to be instantiated. Freed when `release`d and no instance of it is left."""

    def __init__(self, engine: Engine, pointer: int) -> None:
        self.engine = engine
        self.pointer: int | None = pointer
        self.instances = 0
        self._released = False
        self._indexes: list[int | None] = []
        outer = capi.component_export_index(pointer, None, GUEST_INTERFACE, len(GUEST_INTERFACE))
        if not outer:
            capi.component_delete(pointer)
            raise SandboxError(f"the component does not export {GUEST_INTERFACE.decode()}")
        for export in EXPORTS:
            name = export.name.encode()
            self._indexes.append(capi.component_export_index(pointer, outer, name, len(name)))
        capi.export_index_delete(outer)

    def export_index(self, number: int) -> int | None:
        return self._indexes[number]

    def release(self) -> None:
        """No new instance will be made. Idempotent."""
        self._released = True
        self._free_if_unused()

    def instance_closed(self) -> None:
        self.instances -= 1
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self._released and not self.instances and self.pointer is not None:
            for index in self._indexes:
                if index:
                    capi.export_index_delete(index)
            pointer, self.pointer = self.pointer, None
            capi.component_delete(pointer)


class Engine:
    """One per process. `fibers` counts the futures that are alive, `stores` the open stores."""

    def __init__(self) -> None:
        capi.require_checked_library()
        config = capi.config_new()
        capi.config_epoch_interruption(config, True)
        capi.config_component_async(config, True)
        capi.config_max_wasm_stack(config, WASM_STACK_BYTES)
        capi.config_async_stack_size(config, FIBER_STACK_BYTES)
        self.pointer: int = capi.engine_new(config)
        self.linker: int = self._link()
        self.fibers = 0
        self._begun = 0
        self._short_ticks = 0
        self._awake = threading.Event()
        self._stopping = False
        self._ticker = threading.Thread(target=self._tick, name="epoch", daemon=True)
        self._ticker.start()

    def _link(self) -> int:
        linker: int = capi.linker_new(self.pointer)
        root = capi.linker_root(linker)
        for interface, functions in TABLE.items():
            name = interface.encode()
            slot = c_void_p()
            _checked(capi.linker_add_instance(root, name, len(name), addressof(slot)))
            for function, (callback, environment, _) in functions.items():
                text = function.encode()
                _checked(capi.linker_add_function(slot, text, len(text), callback, environment, None))
            capi.linker_instance_delete(slot)
        capi.linker_instance_delete(root)
        return linker

    def wake(self) -> None:
        """A guest is about to run: the ticker must tick."""
        self._begun += 1
        if not self._awake.is_set():
            self._awake.set()

    def was_cut(self) -> None:
        """A guest has used up its slice."""
        self._short_ticks = SHORT_TICKS

    def _tick(self) -> None:
        seen, idle = 0, 0
        while not self._stopping:
            short = self._short_ticks
            time.sleep(SHORT_TICK_S if short else TICK_S)
            if short:
                self._short_ticks = short - 1
            capi.engine_increment_epoch(self.pointer)
            idle = 0 if self._begun != seen or self.fibers else idle + 1
            seen = self._begun
            if idle > IDLE_TICKS:
                self._awake.clear()
                if self._begun == seen and not self._stopping:  # nobody came between the look and the clear
                    self._awake.wait()
                idle = 0

    def load(self, artifact: Path) -> Component:
        """Map a compiled component. Only for files that this host's own compiler wrote: they are machine code."""
        slot = c_void_p()
        _checked(capi.component_deserialize_file(self.pointer, str(artifact).encode(), addressof(slot)))
        assert slot.value is not None
        return Component(self, slot.value)

    def compile(self, wasm: bytes) -> tuple[int, bytes]:
        """A pointer to the component, which the caller owns, and its serialized form. Takes seconds: for the
        compiling child process only.
        """
        slot = c_void_p()
        _checked(capi.component_new(self.pointer, wasm, len(wasm), addressof(slot)))
        vector = capi.ByteVec()
        _checked(capi.component_serialize(slot, addressof(vector)))
        artifact = string_at(vector.data, vector.size)
        capi.bytes_delete(addressof(vector))
        assert slot.value is not None
        return slot.value, artifact

    @property
    def stores(self) -> int:
        return sum(1 for instance in INSTANCES.values() if instance.engine is self)

    def close(self) -> None:
        """Stop the ticker and free the engine. Every instance must be closed before."""
        if self._stopping:
            return
        if self.stores:
            raise SandboxError(f"{self.stores} instances are still open")
        self._stopping = True
        self._awake.set()
        self._ticker.join()
        capi.linker_delete(self.linker)
        capi.engine_delete(self.pointer)
