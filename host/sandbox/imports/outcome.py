"""`tenure:edge/outcome`: how the running call ends. Saying it twice is a trap: the first word counts, and a reply
may be out.
"""

from __future__ import annotations

from host.model.message import HttpResponse
from host.sandbox.call import Call
from host.sandbox.capi import BOOL, STRING, U16
from host.sandbox.imports.callback import host_function
from host.sandbox.outcome import Outcome


@host_function("outcome", "respond", U16, STRING, STRING, BOOL)
def respond(call: Call, status: int, headers: bytes, body: bytes, binary: bool) -> None:
    call.end(Outcome("responded", response=HttpResponse(status, headers, body, binary)))


@host_function("outcome", "return", STRING)
def return_(call: Call, value: bytes) -> None:
    call.end(Outcome("returned", value))


@host_function("outcome", "fail", STRING, STRING, STRING)
def fail(call: Call, name: bytes, message: bytes, stack: bytes) -> None:
    call.end(Outcome("failed", name=name.decode(), message=message.decode(), stack=stack.decode()))


@host_function("outcome", "relay", STRING, STRING, STRING, STRING)
def relay(call: Call, name: bytes, message: bytes, cause: bytes, stack: bytes) -> None:
    call.end(
        Outcome("failed", name=name.decode(), message=message.decode(), cause=cause.decode(), stack=stack.decode())
    )


@host_function("outcome", "crash", STRING)
def crash(call: Call, message: bytes) -> None:
    call.end(Outcome("crashed", message=message.decode()))


@host_function("outcome", "ready")
def ready(call: Call) -> None:
    call.storage.ready()


@host_function("outcome", "block", BOOL)
def block(call: Call, blocked: bool) -> None:
    call.block(blocked)
