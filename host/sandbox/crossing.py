"""How values cross between Python and a guest: the calls of its exports, and the calls of the host by its imports.

This is the plain way, through ctypes. `_crossing.c` does the same three things (`host_function`, `begin`, `poll`) in
C, several times cheaper; `native.crossing` is the one in use. What is changed here is changed there: the contract tests
run on both.

Kinds of values: those of `capi`, with `OPTIONAL` for an option of one. A function's result is of one of these kinds or
`NOTHING`; with `REFUSABLE` it is a `result<_, refusal>`, and the Python function raises `Refusal`. In Python a string
is the bytes of its UTF-8, an option is a value or None, numbers and booleans are themselves.

Invariants:
  - The kinds of the arguments are compared with the declared ones on every call, because a component declares its
    imports itself and a lie about them must not make us read an integer as a pointer, or write to a result that is
    not there.
  - No exception leaves a callback: it is kept in the instance's `failure`, and the guest gets a trap.
  - The instance is found by its context pointer, so it does not matter which thread polls it.
  - Text that is not UTF-8 never reaches the library, which would abort the process.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from ctypes import addressof, c_char, create_string_buffer, memmove, string_at
from typing import Any

from host.sandbox import capi
from host.sandbox.capi import BOOL, BYTES_DATA, F64, OPTION, RECORD, RESULT, STRING, U16, U32, VAL_SIZE, read_bytes
from host.sandbox.ports import Refusal

OPTIONAL, REFUSABLE, NOTHING = 32, 64, 31
"""Bits on top of a kind, and the kind of a function's result that has none."""

INSTANCES: dict[int, Any] = {}
"""Context pointer of the store -> `instance.Instance`. Its size is the number of open stores."""

Answer = Callable[..., Any]
"""(call, *arguments) -> result. Raises Refusal where the world has a place for one."""

_VAL = {BOOL: struct.Struct("<B7x?23x"), U16: struct.Struct("<B7xH22x"), U32: struct.Struct("<B7xI20x")}
_VAL |= {F64: struct.Struct("<B7xd16x"), STRING: struct.Struct("<B7xQQ8x"), OPTION: struct.Struct("<B7xQ16x")}
_RESULT = struct.Struct("<B7xB7xQ8x")
_STRING_KIND = bytes([STRING])


# Calling an export.


def begin(
    function: int,
    context: int,
    block: int,
    kinds: bytes,
    parameters: tuple[Any, ...],
    results: int,
    count: int,
    error: int,
) -> int:
    """Start `function` with `parameters`, laid out at `block`; the future. `results` has room for `count` values.

    Strings must be kept alive as long as the future, which points into them. Raises TypeError, UnicodeDecodeError.
    """
    if len(kinds) != len(parameters):
        raise TypeError(f"{len(kinds)} arguments are needed, not {len(parameters)}")
    at = block
    for kind, value in zip(kinds, parameters, strict=True):
        if kind == STRING:
            if type(value) is not bytes:
                raise TypeError("a string argument must be bytes")
            _check_text(value)
            packed = _VAL[STRING].pack(STRING, len(value), id(value) + BYTES_DATA)
        else:
            packed = _VAL[kind].pack(kind, value)
        memmove(at, packed, VAL_SIZE)
        at += VAL_SIZE
    future: int = capi.func_call_async(function, context, block, len(parameters), results, count, error)
    capi.context_set_epoch_deadline(context, 1)
    return future


def poll(future: int, error: int) -> int | None:
    """Let the guest run, for one epoch tick at most. None: it has not returned. Else the future is deleted, and the
    result is 0, or the error that was at `error`, which is the caller's now.
    """
    if not capi.future_poll(future):
        return None
    capi.future_delete(future)
    slot = ctypes.c_uint64.from_address(error)
    found, slot.value = slot.value, 0
    return found


# Answering an import.


def host_function(name: str, kinds: bytes, result: int, answer: Answer) -> tuple[int, int, Any]:
    """`answer` as a callback of the library for a function with parameters of these kinds and this kind of result: its
    address, the address it is to be given as its environment, and what must stay alive as long as it.
    """
    count, size, results_expected = len(kinds), VAL_SIZE * len(kinds), int(result != NOTHING)

    def callback(_env: int, context: int, _type: int, args: int, nargs: int, results: int, nresults: int) -> int | None:
        instance = INSTANCES.get(context)
        try:
            if instance is None or nargs != count or nresults != results_expected:
                raise ValueError(f"{name} was called with {nargs} arguments for {nresults} results")
            block = read_bytes(args, size) if count else b""
            arguments = [_read(block, VAL_SIZE * index, kind) for index, kind in enumerate(kinds)]
            try:
                value = answer(instance.call, *arguments)
            except Refusal as refusal:
                if not result & REFUSABLE:
                    raise
                _set_refused(results, refusal)
            else:
                _set(results, result, value)
        except BaseException as error:  # nothing may leave a C callback; the call reports it
            if instance is not None:
                instance.failure = error
            return int(capi.error_new(b"the host refused an import"))
        return None

    kept = capi.HOST_FUNCTION(callback)
    address = ctypes.cast(kept, ctypes.c_void_p).value
    assert address is not None
    return address, 0, kept


def _read(block: bytes, at: int, kind: int) -> Any:
    """One argument. Raises ValueError when it is of another kind than declared."""
    plain = OPTION if kind & OPTIONAL else kind
    if block[at] != plain:
        raise ValueError("an argument is of another type than the world says")
    if plain == OPTION:
        pointer = _VAL[OPTION].unpack_from(block, at)[1]
        return _read(read_bytes(pointer, VAL_SIZE), 0, kind & ~OPTIONAL) if pointer else None
    if plain == STRING:
        _, length, address = _VAL[STRING].unpack_from(block, at)
        return read_bytes(address, length)
    return _VAL[plain].unpack_from(block, at)[1]


# Writing a result. `at` is the address of a value that the library gave us; what is written there becomes its own.


def _set(at: int, kind: int, value: Any) -> None:
    if kind == STRING:
        _check_text(value)
        capi.bytes_new(at + 8, len(value), value)
        memmove(at, _STRING_KIND, 1)
    elif kind & REFUSABLE:
        inner = kind & ~REFUSABLE
        memmove(at, _RESULT.pack(RESULT, 1, 0 if inner == NOTHING else _boxed(inner, value)), VAL_SIZE)
    elif kind & OPTIONAL:
        memmove(at, _VAL[OPTION].pack(OPTION, 0 if value is None else _boxed(kind & ~OPTIONAL, value)), VAL_SIZE)
    elif kind != NOTHING:
        memmove(at, _VAL[kind].pack(kind, value), VAL_SIZE)


def _boxed(kind: int, value: Any) -> int:
    """Address of a heap value of the library's own."""
    scratch = create_string_buffer(VAL_SIZE)
    _set(addressof(scratch), kind, value)
    box: int = capi.val_new(addressof(scratch))
    return box


def _set_refused(at: int, refusal: Refusal) -> None:
    scratch = create_string_buffer(VAL_SIZE)
    record = addressof(scratch)
    fields = ((b"name", refusal.name.encode()), (b"message", refusal.message.encode()))
    capi.record_new_uninit(record + 8, len(fields))
    (entries,) = struct.unpack("<Q", string_at(record + 16, 8))
    for index, (name, text) in enumerate(fields):
        entry = entries + 48 * index
        capi.bytes_new(entry, len(name), name)
        _set(entry + 16, STRING, text)
    scratch[0] = c_char(RECORD)
    memmove(at, _RESULT.pack(RESULT, 0, capi.val_new(record)), VAL_SIZE)


def _check_text(data: bytes) -> None:
    if not data.isascii():
        data.decode()
