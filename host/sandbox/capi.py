"""A private, typed binding over the asynchronous part of libwasmtime's C API.

Why not the `wasmtime` package's own classes: they wrap neither asynchronous calls nor stores with limits that can be
counted, reflect over types on every call, and keep a callback's exception in one global for all threads. So this module
takes only the shared library from that package and declares the functions that are needed under prototypes of its own.
`crossing` (and `_crossing.c`) read and write the C structures by their byte layout.

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

import os
import sys
from ctypes import (
    CDLL,
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
    cast,
    py_object,
    pythonapi,
    string_at,
)
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from host.model.errors import HostError

CHECKED_WASMTIME = {"50.0.1": {"linux-x86_64": 29_673_400}}
"""Version of the package -> platform folder -> size in bytes of the library that this binding was checked against."""

BOOL, U16, U32, F64, STRING, RECORD, OPTION, RESULT = 0, 4, 6, 10, 12, 14, 18, 19
VAL_SIZE = 32


class LibraryError(HostError):
    """The installed libwasmtime is not one that this binding was checked against."""


def _package() -> Path:
    """The folder of the `wasmtime` package. Importing it would take longer than all that this module does: it makes a
    prototype of each function there is.
    """
    found = find_spec("wasmtime")
    if found is None or found.origin is None:
        raise LibraryError(f"wasmtime is not installed: pip install wasmtime=={next(iter(CHECKED_WASMTIME))}")
    return Path(found.origin).parent


_PLATFORM = f"{sys.platform}-{os.uname().machine}"
_LIBRARY = _package() / _PLATFORM / "_libwasmtime.so"
try:
    dll = CDLL(str(_LIBRARY))
except OSError as error:
    raise LibraryError(f"wasmtime cannot be loaded on {_PLATFORM}: {error}") from None


def require_checked_library() -> None:
    """Raise LibraryError unless the loaded libwasmtime is exactly the one this binding was checked against."""
    version = _installed_version()
    known = CHECKED_WASMTIME.get(version)
    if known is None:
        raise LibraryError(
            f"wasmtime {version} is installed, but this host was checked against {', '.join(CHECKED_WASMTIME)} only: "
            f"pip install wasmtime=={next(iter(CHECKED_WASMTIME))}"
        )
    size = _LIBRARY.stat().st_size
    if known.get(_PLATFORM) != size:
        raise LibraryError(
            f"the wasmtime library for {_PLATFORM} ({size} bytes) is not one this host was checked against: "
            f"{', '.join(f'{name} ({length} bytes)' for name, length in known.items())}"
        )
    probe = b"tenure: where a bytes object keeps its data"
    if string_at(id(probe) + BYTES_DATA, len(probe)) != probe:
        raise LibraryError("this Python keeps the data of bytes elsewhere than the one this host was checked against")


def _installed_version() -> str:
    """What pip calls the folder beside the package says it, and is there sooner than `importlib.metadata`."""
    names = [path.name for path in _LIBRARY.parents[2].glob("wasmtime-*.dist-info")]
    if len(names) == 1:
        return names[0].removeprefix("wasmtime-").removesuffix(".dist-info")
    import importlib.metadata

    return importlib.metadata.version("wasmtime")


BYTES_DATA = bytes.__basicsize__ - 1
"""Offset of the data inside a CPython bytes object (checked at start): arguments point straight at it, uncopied."""


def _bind(name: str, result: Any, *arguments: Any, long: bool = False) -> Any:
    """A prototype of our own for the symbol, so that wasmtime-py's declarations of it stay as they are.

    Only what may run `long` gives the interpreter's lock up: winning it back costs more than a short call takes.
    """
    prototype = CFUNCTYPE if long else PYFUNCTYPE
    return prototype(result, *arguments)((name, dll))


def address_of(name: str) -> int:
    """Where the library has a symbol: for code that calls it without ctypes."""
    address = cast(getattr(dll, name), c_void_p).value
    assert address is not None
    return address


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
    *(c_void_p, c_void_p, c_char_p, c_size_t, c_void_p, c_void_p, c_void_p),
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
