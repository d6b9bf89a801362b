"""Holds a component's imports and exports against the WIT world, and says every difference in words.

The table below is the world of `guest_sdk/wit/tenure.wit` as the library prints it (a test compares the two). Linking
would refuse a foreign import as well, but only the first and in the library's words; and a function of the right name
and another type would be found out only when it is called.
"""

from __future__ import annotations

import ctypes
from typing import Any

from wasmtime import _ffi as ffi
from wasmtime.component import (
    F64,
    U16,
    U32,
    Bool,
    ComponentInstanceType,
    ComponentType,
    FuncType,
    OptionType,
    RecordType,
    ResultType,
    String,
)

PREFIX, SUFFIX = "tenure:edge/", "@0.1.0"
_BODY = "string, string, string, bool"
_REFUSAL = "record{name: string, message: string}"

IMPORTS: dict[str, dict[str, str]] = {
    "types": {},
    "storage": {
        "get": "(u32, string) -> option<string>",
        "put": f"(u32, string, string) -> result<_, {_REFUSAL}>",
        "delete": f"(u32, string) -> result<bool, {_REFUSAL}>",
        "list": "(u32, string, string, option<string>, bool, u32) -> string",
        "delete-all": "(u32)",
        "begin": "(u32) -> u32",
        "commit": "(u32)",
        "rollback": "(u32)",
        "get-alarm": "() -> option<f64>",
        "set-alarm": "(option<f64>)",
    },
    "actors": {
        "invoke": "(string, string, string, string) -> u32",
        "fetch": "(string, string, string, string, string, string, bool) -> u32",
    },
    "outbound": {"fetch": "(string, string, string, string, bool, string) -> u32"},
    "timers": {"start": "(f64) -> u32", "cancel": "(u32)"},
    "outcome": {
        "respond": "(u16, string, string, bool)",
        "return": "(string)",
        "fail": "(string, string, string)",
        "relay": "(string, string, string, string)",
        "crash": "(string)",
        "ready": "()",
        "block": "(bool)",
    },
    "clock": {"now": "() -> f64", "monotonic": "() -> f64"},
    "random": {"bytes": "(u32) -> string"},
    "log": {"write": "(string, string)"},
    "config": {"get": "() -> string"},
    "web": {
        "parse-url": "(string, option<string>) -> option<string>",
        "set-url": "(string, string, string) -> option<string>",
        "encode-utf8": "(string) -> string",
        "decode-utf8": "(string, bool) -> option<string>",
    },
    "crypto": {
        "digest": "(string, string) -> option<string>",
        "hmac": "(string, string, string) -> option<string>",
        "verify": "(string, string, string, string) -> option<bool>",
    },
}

EXPORTS: dict[str, str] = {
    "describe": "() -> string",
    "fetch": "(string, string, string, string, bool)",
    "invoke": "(string, string)",
    "alarm": "(u32)",
    "resolve": "(u32, string)",
    "resolve-response": "(u32, u16, string, string, bool)",
    "reject": "(u32, string, string, string)",
}


class _Engine:
    """What the type classes ask of an engine: its pointer."""

    def __init__(self, pointer: int) -> None:
        self._pointer = ctypes.cast(pointer, ctypes.POINTER(ffi.wasm_engine_t))

    def ptr(self) -> Any:
        return self._pointer


def render(item: Any) -> str:
    """A function's or value's type as WIT text, parameter names left out."""
    match item:
        case FuncType():
            parameters = ", ".join(render(type_) for _, type_ in item.params)
            result = f" -> {render(item.result)}" if item.result is not None else ""
            return f"({parameters}){result}"
        case None:
            return "_"
        case OptionType():
            return f"option<{render(item.payload)}>"
        case ResultType():
            return f"result<{render(item.ok)}, {render(item.err)}>"
        case RecordType():
            return "record{" + ", ".join(f"{name}: {render(type_)}" for name, type_ in item.fields) + "}"
        case String() | Bool() | U16() | U32() | F64():
            return type(item).__name__.lower()
        case _:
            return type(item).__name__.removesuffix("Type").lower()


def problems(engine_pointer: int, component_pointer: int) -> list[str]:
    """Every way in which the component departs from the world; empty when it fits."""
    engine: Any = _Engine(engine_pointer)
    pointer = ctypes.cast(component_pointer, ctypes.POINTER(ffi.wasmtime_component_t))
    component = ComponentType._from_ptr(ffi.wasmtime_component_type(pointer))
    found: list[str] = []
    for name, extern in component.imports(engine).items():
        found += _import_problems(engine, name, extern.ty)
    exports = component.exports(engine)
    guest = exports.get(f"{PREFIX}guest{SUFFIX}")
    if guest is None or not isinstance(guest.ty, ComponentInstanceType):
        found.append(f"it does not export {PREFIX}guest{SUFFIX}: build it with this host's SDK")
        return found
    functions = guest.ty.exports(engine)
    for name, expected in EXPORTS.items():
        actual = render(functions[name].ty) if name in functions else "nothing"
        if actual != expected:
            found.append(f"its export {name} is {actual}, not {expected}: build it with this host's SDK")
    return found


def _import_problems(engine: Any, name: str, item: Any) -> list[str]:
    interface = name.removeprefix(PREFIX).removesuffix(SUFFIX)
    granted = IMPORTS.get(interface) if name == f"{PREFIX}{interface}{SUFFIX}" else None
    if granted is None:
        return [f"it imports {name}, which this host does not grant"]
    if not isinstance(item, ComponentInstanceType):
        return [f"it imports {name} as something that is not an interface"]
    found = []
    for function, extern in item.exports(engine).items():
        actual = extern.ty
        if not isinstance(actual, FuncType):
            continue
        if function not in granted:
            found.append(f"it imports {name}#{function}, which this host does not grant")
        elif render(actual) != granted[function]:
            found.append(f"it imports {name}#{function} as {render(actual)}, not {granted[function]}")
    return found
