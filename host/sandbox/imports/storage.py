"""`tenure:edge/storage`: the running turn's storage. Values are opaque JSON text, which is why a list can be joined
as text.
"""

from __future__ import annotations

from typing import Any

import orjson

from host.sandbox import capi
from host.sandbox.capi import BOOL, OPTION, STRING, U32
from host.sandbox.imports.callback import host_function, text
from host.sandbox.ports import Refusal


@host_function("storage", "get", U32, STRING)
def get(call: Any, fields: tuple[Any, ...], results: int) -> None:
    capi.set_option_string(results, call.storage.get(fields[1], text(fields, 3)))


@host_function("storage", "put", U32, STRING, STRING)
def put(call: Any, fields: tuple[Any, ...], results: int) -> None:
    try:
        call.storage.put(fields[1], text(fields, 3), text(fields, 6))
    except Refusal as refusal:
        capi.set_refusal(results, refusal.name, refusal.message)
    else:
        capi.set_ok(results)


@host_function("storage", "delete", U32, STRING)
def delete(call: Any, fields: tuple[Any, ...], results: int) -> None:
    try:
        existed = call.storage.delete(fields[1], text(fields, 3))
    except Refusal as refusal:
        capi.set_refusal(results, refusal.name, refusal.message)
    else:
        capi.set_ok_bool(results, existed)


@host_function("storage", "list", U32, STRING, STRING, OPTION, BOOL, U32)
def list_(call: Any, fields: tuple[Any, ...], results: int) -> None:
    pairs = call.storage.list(
        fields[1],
        text(fields, 3),
        text(fields, 6),
        capi.read_option_string(fields[9]),
        fields[11],
        fields[13],
    )
    joined = b",".join(b"[" + orjson.dumps(key.decode()) + b"," + value + b"]" for key, value in pairs)
    capi.set_string(results, b"[" + joined + b"]")


@host_function("storage", "delete-all", U32, returns=False)
def delete_all(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.storage.delete_all(fields[1])


@host_function("storage", "begin", U32)
def begin(call: Any, fields: tuple[Any, ...], results: int) -> None:
    capi.set_u32(results, call.storage.begin(fields[1]))


@host_function("storage", "commit", U32, returns=False)
def commit(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.storage.commit(fields[1])


@host_function("storage", "rollback", U32, returns=False)
def rollback(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.storage.rollback(fields[1])


@host_function("storage", "get-alarm")
def get_alarm(call: Any, _fields: tuple[Any, ...], results: int) -> None:
    capi.set_option_f64(results, call.storage.get_alarm())


@host_function("storage", "set-alarm", OPTION, returns=False)
def set_alarm(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.storage.set_alarm(capi.read_option_f64(fields[1]))
