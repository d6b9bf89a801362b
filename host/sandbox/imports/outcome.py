"""`tenure:edge/outcome`: how the running call ends. Saying it twice is a trap: the first word counts, and a reply
may be out.
"""

from __future__ import annotations

from typing import Any

from host.model.message import HttpResponse
from host.sandbox.capi import BOOL, STRING, U16
from host.sandbox.imports.callback import host_function, text
from host.sandbox.outcome import Outcome


@host_function("outcome", "respond", U16, STRING, STRING, BOOL, returns=False)
def respond(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    response = HttpResponse(fields[1], text(fields, 3), text(fields, 6), fields[9])
    call.end(Outcome("responded", response=response))


@host_function("outcome", "return", STRING, returns=False)
def return_(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.end(Outcome("returned", value=text(fields, 1)))


@host_function("outcome", "fail", STRING, STRING, STRING, returns=False)
def fail(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    name, message, stack = (text(fields, 1 + 3 * index).decode() for index in range(3))
    call.end(Outcome("failed", name=name, message=message, stack=stack))


@host_function("outcome", "relay", STRING, STRING, STRING, STRING, returns=False)
def relay(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    name, message, cause, stack = (text(fields, 1 + 3 * index).decode() for index in range(4))
    call.end(Outcome("failed", name=name, message=message, cause=cause, stack=stack))


@host_function("outcome", "crash", STRING, returns=False)
def crash(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.end(Outcome("crashed", message=text(fields, 1).decode()))


@host_function("outcome", "ready", returns=False)
def ready(call: Any, _fields: tuple[Any, ...], _results: int) -> None:
    call.storage.ready()


@host_function("outcome", "block", BOOL, returns=False)
def block(call: Any, fields: tuple[Any, ...], _results: int) -> None:
    call.block(fields[1])
