"""A private, typed binding over the asynchronous part of libwasmtime's C API.

Why not the `wasmtime` package's own classes: they wrap neither asynchronous calls nor stores with limits that can be
counted, reflect over types on every call, and keep a callback's exception in one global for all threads. So this module
takes only the shared library from that package, declares the functions that are needed under prototypes of its own, and
reads and writes the C structures by their byte layout, in one `struct` operation for a whole argument list.

Misuse of this API aborts the process. Therefore: the layouts below belong to the exact library named in
`CHECKED_WASMTIME` and nothing else is accepted (`require_checked_library`), and whoever starts a future keeps
everything that it points at alive until the future is deleted (`instance.Instance` does).

Shape: `wasmtime_component_val_t` is 32 bytes: kind u8, 7 bytes of padding, then a union of 24 bytes:
    bool u8 | u16 | u32 | f64       at 8
    string  size u64, data pointer  at 8, 16
    record, tuple, list             size u64, data pointer at 8, 16
    option  pointer or NULL         at 8
    result  is_ok u8 at 8, pointer or NULL at 16
A record entry is 48 bytes: name (size, data), then a val.

Source: the headers wasmtime/{async,store,error,config}.h and wasmtime/component/*.h of that release.
"""

from __future__ import annotations

import importlib.metadata
import os
import struct
import threading
from ctypes import (
    CFUNCTYPE,
    PYFUNCTYPE,
    Structure,
    addressof,
    c_bool,
    c_char_p,
    c_int64,
    c_size_t,
    c_ssize_t,
    c_uint64,
    c_void_p,
    create_string_buffer,
    memmove,
    py_object,
    pythonapi,
    sizeof,
    string_at,
)
from typing import Any

from wasmtime import _ffi
from wasmtime._bindings import dll  # type: ignore[attr-defined]  # the loaded library, as every class there uses it

CHECKED_WASMTIME = {"50.0.1": {"linux-x86_64": 29_673_400}}
"""Version of the package -> platform folder -> size in bytes of the library that this binding was checked against."""

BOOL, U16, U32, F64, STRING, RECORD, OPTION, RESULT = 0, 4, 6, 10, 12, 14, 18, 19
VAL_SIZE = 32

_PARAMETER = {
    BOOL: "B7x?7x16x",
    U16: "B7xH6x16x",
    U32: "B7xI4x16x",
    F64: "B7xd16x",
    STRING: "B7xQQ8x",
    OPTION: "B7xQ16x",
}


class LibraryError(RuntimeError):
    """The installed libwasmtime is not one that this binding was checked against."""


def layout(*kinds: int) -> struct.Struct:
    """The struct that reads or writes a list of values of these kinds. Each gives its kind, then its payload fields."""
    return struct.Struct("<" + "".join(_PARAMETER[kind] for kind in kinds))


def require_checked_library() -> None:
    """Raise LibraryError unless the loaded libwasmtime is exactly the one this binding was checked against."""
    version = importlib.metadata.version("wasmtime")
    known = CHECKED_WASMTIME.get(version)
    if known is None:
        raise LibraryError(
            f"wasmtime {version} is installed, but this host was checked against {', '.join(CHECKED_WASMTIME)} only: "
            f"pip install wasmtime=={next(iter(CHECKED_WASMTIME))}"
        )
    path = dll._name
    platform = os.path.basename(os.path.dirname(path))
    size = os.path.getsize(path)
    if known.get(platform) != size:
        raise LibraryError(
            f"the wasmtime library for {platform} ({size} bytes) is not one this host was checked against: "
            f"{', '.join(f'{name} ({length} bytes)' for name, length in known.items())}"
        )
    val = _ffi.wasmtime_component_val_t
    probe = b"tenure: where a bytes object keeps its data"
    if (
        sizeof(val) != VAL_SIZE
        or val.of.offset != 8
        or sizeof(_ffi.wasmtime_component_valrecord_entry_t) != 48
        or _ffi.WASMTIME_COMPONENT_STRING.value != STRING
        or _ffi.WASMTIME_COMPONENT_RESULT.value != RESULT
        or string_at(id(probe) + BYTES_DATA, len(probe)) != probe
    ):
        raise LibraryError("the layout of wasmtime's values differs from the one this host was checked against")


BYTES_DATA = bytes.__basicsize__ - 1
"""Offset of the data inside a CPython bytes object (checked at start): arguments point straight at it, uncopied."""


def _bind(name: str, result: Any, *arguments: Any, long: bool = False) -> Any:
    """A prototype of our own for the symbol, so that wasmtime-py's declarations of it stay as they are.

    Only what may run `long` gives the interpreter's lock up: winning it back costs more than a short call takes.
    """
    prototype = CFUNCTYPE if long else PYFUNCTYPE
    return prototype(result, *arguments)((name, dll))


read_bytes = PYFUNCTYPE(py_object, c_void_p, c_ssize_t)(("PyBytes_FromStringAndSize", pythonapi))
"""read_bytes(address, size): a copy as bytes, in one call (ctypes.string_at makes two)."""

HOST_FUNCTION = CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)
"""wasmtime_component_func_callback_t: (env, context, type, args, nargs, results, nresults) -> error or NULL."""

config_new = _bind("wasm_config_new", c_void_p)
config_epoch_interruption = _bind("wasmtime_config_epoch_interruption_set", None, c_void_p, c_bool)
config_component_async = _bind("wasmtime_config_wasm_component_model_async_set", None, c_void_p, c_bool)
config_max_wasm_stack = _bind("wasmtime_config_max_wasm_stack_set", None, c_void_p, c_size_t)
config_async_stack_size = _bind("wasmtime_config_async_stack_size_set", None, c_void_p, c_size_t)
engine_new = _bind("wasm_engine_new_with_config", c_void_p, c_void_p)
engine_delete = _bind("wasm_engine_delete", None, c_void_p)
engine_increment_epoch = _bind("wasmtime_engine_increment_epoch", None, c_void_p)

component_new = _bind("wasmtime_component_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p, long=True)
component_serialize = _bind("wasmtime_component_serialize", c_void_p, c_void_p, c_void_p, long=True)
component_deserialize_file = _bind(
    "wasmtime_component_deserialize_file", c_void_p, c_void_p, c_char_p, c_void_p, long=True
)
component_delete = _bind("wasmtime_component_delete", None, c_void_p)
component_export_index = _bind("wasmtime_component_get_export_index", c_void_p, c_void_p, c_void_p, c_char_p, c_size_t)
export_index_delete = _bind("wasmtime_component_export_index_delete", None, c_void_p)

linker_new = _bind("wasmtime_component_linker_new", c_void_p, c_void_p)
linker_delete = _bind("wasmtime_component_linker_delete", None, c_void_p)
linker_root = _bind("wasmtime_component_linker_root", c_void_p, c_void_p)
linker_add_instance = _bind(
    "wasmtime_component_linker_instance_add_instance", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
)
linker_add_function = _bind(
    "wasmtime_component_linker_instance_add_func",
    *(c_void_p, c_void_p, c_char_p, c_size_t, HOST_FUNCTION, c_void_p, c_void_p),
)
linker_instance_delete = _bind("wasmtime_component_linker_instance_delete", None, c_void_p)
linker_instantiate_async = _bind(
    "wasmtime_component_linker_instantiate_async", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)

store_new = _bind("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context = _bind("wasmtime_store_context", c_void_p, c_void_p)
store_limiter = _bind("wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)
store_delete = _bind("wasmtime_store_delete", None, c_void_p)
context_set_epoch_deadline = _bind("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
context_epoch_yield = _bind("wasmtime_context_epoch_deadline_async_yield_and_update", None, c_void_p, c_uint64)

instance_get_func = _bind("wasmtime_component_instance_get_func", c_bool, c_void_p, c_void_p, c_void_p, c_void_p)
func_call_async = _bind(
    "wasmtime_component_func_call_async",
    *(c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p),
)
future_poll = _bind("wasmtime_call_future_poll", c_bool, c_void_p, long=True)
future_delete = _bind("wasmtime_call_future_delete", None, c_void_p)

error_new = _bind("wasmtime_error_new", c_void_p, c_char_p)
error_message = _bind("wasmtime_error_message", None, c_void_p, c_void_p)
error_delete = _bind("wasmtime_error_delete", None, c_void_p)
bytes_new = _bind("wasm_byte_vec_new", None, c_void_p, c_size_t, c_char_p)
bytes_delete = _bind("wasm_byte_vec_delete", None, c_void_p)
val_new = _bind("wasmtime_component_val_new", c_void_p, c_void_p)
val_delete = _bind("wasmtime_component_val_delete", None, c_void_p)
record_new_uninit = _bind("wasmtime_component_valrecord_new_uninit", None, c_void_p, c_size_t)


class ByteVec(Structure):
    """wasm_byte_vec_t."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


def take_error(error: int) -> str:
    """The message of an error that we own, which is then freed."""
    text = ByteVec()
    error_message(error, addressof(text))
    message = string_at(text.data, text.size).decode(errors="replace") if text.size else ""
    bytes_delete(addressof(text))
    error_delete(error)
    return message


# Writing results of host functions. `at` is the address of a val that wasmtime gave us; what is written becomes its
# own.

_U32 = struct.Struct("<B7xI4x16x")
_F64 = struct.Struct("<B7xd16x")
_POINTER = struct.Struct("<B7xQ16x")
_RESULT = struct.Struct("<B7xB7xQ8x")
_STRING_KIND = bytes([STRING])
_NONE = _POINTER.pack(OPTION, 0)
_OK = _RESULT.pack(RESULT, 1, 0)
_BOOL = (struct.pack("<B7xB23x", BOOL, 0), struct.pack("<B7xB23x", BOOL, 1))


def set_string(at: int, data: bytes) -> None:
    if not data.isascii():
        data.decode()  # malformed UTF-8 would abort the process inside the library
    bytes_new(at + 8, len(data), data)
    memmove(at, _STRING_KIND, 1)


def set_u32(at: int, value: int) -> None:
    memmove(at, _U32.pack(U32, value), VAL_SIZE)


def set_f64(at: int, value: float) -> None:
    memmove(at, _F64.pack(F64, value), VAL_SIZE)


def set_bool(at: int, value: bool) -> None:
    memmove(at, _BOOL[value], VAL_SIZE)


def _boxed(write: Any, value: Any) -> int:
    """Address of a heap value of wasmtime's own, written by `write(address, value)`."""
    scratch = create_string_buffer(VAL_SIZE)
    write(addressof(scratch), value)
    box: int = val_new(addressof(scratch))
    return box


class _Scratch(threading.local):
    """A string value of each thread's own, filled and handed over in two steps."""

    def __init__(self) -> None:
        self.block = create_string_buffer(VAL_SIZE)
        self.at = addressof(self.block)


_scratch = _Scratch()


def set_option_string(at: int, data: bytes | None) -> None:
    if data is None:
        memmove(at, _NONE, VAL_SIZE)
        return
    if not data.isascii():
        data.decode()  # malformed UTF-8 would abort the process inside the library
    scratch = _scratch.at
    _scratch.block[0] = _STRING_KIND  # val_new takes the value and leaves another kind behind
    bytes_new(scratch + 8, len(data), data)
    memmove(at, _POINTER.pack(OPTION, val_new(scratch)), VAL_SIZE)


def set_option_bool(at: int, value: bool | None) -> None:
    memmove(at, _NONE if value is None else _POINTER.pack(OPTION, _boxed(set_bool, value)), VAL_SIZE)


def set_option_f64(at: int, value: float | None) -> None:
    memmove(at, _NONE if value is None else _POINTER.pack(OPTION, _boxed(set_f64, value)), VAL_SIZE)


def set_ok(at: int) -> None:
    memmove(at, _OK, VAL_SIZE)


def set_ok_bool(at: int, value: bool) -> None:
    memmove(at, _RESULT.pack(RESULT, 1, _boxed(set_bool, value)), VAL_SIZE)


def _set_refusal(at: int, fields: tuple[tuple[bytes, bytes], ...]) -> None:
    record_new_uninit(at + 8, len(fields))
    (entries,) = struct.unpack("<Q", string_at(at + 16, 8))
    for index, (name, text) in enumerate(fields):
        bytes_new(entries + 48 * index, len(name), name)
        set_string(entries + 48 * index + 16, text)
    memmove(at, bytes([RECORD]), 1)


def set_refusal(at: int, name: str, message: str) -> None:
    """The `err` case of result<_, refusal>."""
    fields = ((b"name", name.encode()), (b"message", message.encode()))
    memmove(at, _RESULT.pack(RESULT, 0, _boxed(_set_refusal, fields)), VAL_SIZE)


def read_option_string(pointer: int) -> bytes | None:
    """The text behind an option's pointer, or None. Raises ValueError when the guest passed another kind of value."""
    if not pointer:
        return None
    kind, size, data = _STRING.unpack(string_at(pointer, VAL_SIZE))
    if kind != STRING:
        raise ValueError("an option of a string was expected")
    return string_at(data, size)


def read_option_f64(pointer: int) -> float | None:
    if not pointer:
        return None
    kind, value = _F64.unpack(string_at(pointer, VAL_SIZE))
    if kind != F64:
        raise ValueError("an option of a float was expected")
    return float(value)


_STRING = layout(STRING)
