"""`tenure:edge/storage`: the running turn's storage. Values are opaque JSON text, which is why a list can be joined
as text.
"""

from __future__ import annotations

import orjson

from host.sandbox.call import Call
from host.sandbox.capi import BOOL, F64, STRING, U32
from host.sandbox.crossing import NOTHING, OPTIONAL, REFUSABLE
from host.sandbox.imports.callback import host_function


@host_function("storage", "get", U32, STRING, result=OPTIONAL | STRING)
def get(call: Call, txn: int, key: bytes) -> bytes | None:
    return call.storage.get(txn, key)


@host_function("storage", "put", U32, STRING, STRING, result=REFUSABLE | NOTHING)
def put(call: Call, txn: int, key: bytes, value: bytes) -> None:
    call.storage.put(txn, key, value)


@host_function("storage", "delete", U32, STRING, result=REFUSABLE | BOOL)
def delete(call: Call, txn: int, key: bytes) -> bool:
    return call.storage.delete(txn, key)


@host_function("storage", "list", U32, STRING, STRING, OPTIONAL | STRING, BOOL, U32, result=STRING)
def list_(call: Call, txn: int, prefix: bytes, start: bytes, end: bytes | None, reverse: bool, limit: int) -> bytes:
    pairs = call.storage.list(txn, prefix, start, end, reverse, limit)
    return b"[" + b",".join(b"[" + orjson.dumps(key.decode()) + b"," + value + b"]" for key, value in pairs) + b"]"


@host_function("storage", "delete-all", U32)
def delete_all(call: Call, txn: int) -> None:
    call.storage.delete_all(txn)


@host_function("storage", "begin", U32, result=U32)
def begin(call: Call, txn: int) -> int:
    return call.storage.begin(txn)


@host_function("storage", "commit", U32)
def commit(call: Call, txn: int) -> None:
    call.storage.commit(txn)


@host_function("storage", "rollback", U32)
def rollback(call: Call, txn: int) -> None:
    call.storage.rollback(txn)


@host_function("storage", "get-alarm", result=OPTIONAL | F64)
def get_alarm(call: Call) -> float | None:
    return call.storage.get_alarm()


@host_function("storage", "set-alarm", OPTIONAL | F64)
def set_alarm(call: Call, at_ms: float | None) -> None:
    call.storage.set_alarm(at_ms)
