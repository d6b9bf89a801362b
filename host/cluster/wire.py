"""How a call of an actor and its answer cross from one worker to another.

With two workers every second call does, so they are bytes laid side by side, with no text format in between.

    call      u8 1 invoke, 2 fetch, 3 fetch with a binary body; u64 number of the call (0: no actor waits for it); u8
              actors in the chain; lengths in bytes of what follows: u16 tenant, u16 type, u32 name, u16 request id,
              u8 trace, u32 method, u32 url; tenant, type, name, request id; for each actor of the chain u16 type, u32
              name (lengths), both; trace id (32 digits) and the caller's span, if it is traced; method; of an invoke
              its arguments (the rest); of a fetch url, u32 headers (length), headers, body (the rest)
    answer    u8 0, wire value (the rest)
              u8 1 (2: binary body), u16 status, u32 headers, headers, body (the rest)
              u8 3, u16 name, u16 cause, u32 detail, u32 stack (lengths), then these

The actors of a chain are all of one tenant, the callee's: nothing crosses tenants.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from host.actors.ports import Answer, Reply
from host.actors.turn import Turn
from host.model.errors import ACTOR_ERRORS, ActorError
from host.model.ids import ActorId
from host.model.message import CallContext, HttpResponse
from host.model.trace import Trace
from host.sandbox.instance import FETCH, INVOKE

_INVOKE, _FETCH, _FETCH_BINARY = 1, 2, 3
_VALUE, _RESPONSE, _RESPONSE_BINARY, _ERROR = 0, 1, 2, 3

_CALL = Struct(">BQBHHIHBII")
_ACTOR = Struct(">HI")
_LENGTH = Struct(">I")
_TRACE_ID_CHARS = 32
_ANSWERED = Struct(">BHI")
_FAILED = Struct(">BHHII")


class ArrivedCall(NamedTuple):
    """A call from another worker. `number` is what its caller's worker calls it, 0 when no actor waits for it."""

    actor: ActorId
    turn: Turn
    number: int


def encode_call(actor: ActorId, turn: Turn, number: int) -> bytes:
    """Raises ValueError for a turn that cannot be sent: an alarm, or a text without UTF-8 or beyond 64 KiB."""
    request_id, chain, trace = turn.context
    traced = b"" if trace is None else f"{trace.trace_id}{trace.span_id}".encode()
    tenant, type_, name = actor[0].encode(), actor[1].encode(), actor[2].encode()
    identifier = request_id.encode()
    if turn.export is INVOKE:
        form = _INVOKE
        method, rest = turn.parameters
        url = b""
    elif turn.export is FETCH:
        method, url, headers, body, binary = turn.parameters
        form = _FETCH_BINARY if binary else _FETCH
        rest = b"".join((_LENGTH.pack(len(headers)), headers, body))
    else:
        raise ValueError("an alarm fires where its actor is")
    try:
        lengths = (len(tenant), len(type_), len(name), len(identifier), len(traced), len(method), len(url))
        head = _CALL.pack(form, number, len(chain), *lengths)
        if not chain:
            return b"".join((head, tenant, type_, name, identifier, traced, method, url, rest))
        return b"".join((head, tenant, type_, name, identifier, _chain(chain), traced, method, url, rest))
    except StructError as error:
        raise ValueError(f"a call cannot be sent to another worker: {error}") from None


def _chain(chain: tuple[ActorId, ...]) -> bytes:
    parts = []
    for actor in chain:
        type_, name = actor.type.encode(), actor.name.encode()
        parts += [_ACTOR.pack(len(type_), len(name)), type_, name]
    return b"".join(parts)


def decode_call(data: bytes, reply: Reply) -> ArrivedCall:
    """The turn, whose answer goes to `reply`. Raises ValueError for what `encode_call` did not write."""
    try:
        form, number, chained, tenant_, type_, name, identifier, traced, method_, url = _CALL.unpack_from(data)
        type_at = _CALL.size + tenant_
        name_at = type_at + type_
        id_at = name_at + name
        at = chain_at = id_at + identifier
        tenant = data[_CALL.size : type_at].decode()
        actor = ActorId(tenant, data[type_at:name_at].decode(), data[name_at:id_at].decode())
        chain: tuple[ActorId, ...] = ()
        if chained:
            chain, at = _read_chain(data, chain_at, chained, tenant)
        trace = None
        if traced:
            ids = data[at : at + traced].decode()
            trace = Trace(ids[:_TRACE_ID_CHARS], ids[_TRACE_ID_CHARS:])
            at += traced
        context = CallContext(data[id_at:chain_at].decode(), chain, trace)
        url_at = at + method_
        rest_at = url_at + url
        if rest_at > len(data):
            raise ValueError("a call that was cut short")
        method = data[at:url_at]
        if form == _INVOKE:
            turn = Turn(INVOKE, (method, data[rest_at:]), f"{method.decode(errors='replace')}()", context, reply)
        elif form in (_FETCH, _FETCH_BINARY):
            (length,) = _LENGTH.unpack_from(data, rest_at)
            headers = rest_at + _LENGTH.size
            body = headers + length
            parameters = (method, data[url_at:rest_at], data[headers:body], data[body:], form == _FETCH_BINARY)
            turn = Turn(FETCH, parameters, "fetch", context, reply)
        else:
            raise ValueError(f"a call of form {form}")
        return ArrivedCall(actor, turn, number)
    except StructError as error:
        raise ValueError(f"not a call: {error}") from None


def _read_chain(data: bytes, at: int, count: int, tenant: str) -> tuple[tuple[ActorId, ...], int]:
    """The chain, and the offset behind it."""
    chain = []
    for _ in range(count):
        type_, name = _ACTOR.unpack_from(data, at)
        name_at = at + _ACTOR.size + type_
        chain.append(
            ActorId(tenant, data[at + _ACTOR.size : name_at].decode(), data[name_at : name_at + name].decode())
        )
        at = name_at + name
    return tuple(chain), at


def encode_answer(answer: Answer) -> bytes:
    if type(answer) is bytes:
        return b"\x00" + answer
    if isinstance(answer, HttpResponse):
        form = _RESPONSE_BINARY if answer.binary else _RESPONSE
        return b"".join((_ANSWERED.pack(form, answer.status, len(answer.headers)), answer.headers, answer.body))
    assert isinstance(answer, ActorError)
    texts = [text.encode(errors="replace") for text in (answer.name, answer.cause, answer.detail, answer.stack)]
    texts[:2] = [text[:0xFFFF] for text in texts[:2]]  # names of errors: longer ones are nobody's
    return b"".join((_FAILED.pack(_ERROR, *map(len, texts)), *texts))


def decode_answer(data: bytes) -> Answer:
    """Raises ValueError for what `encode_answer` did not write."""
    form = data[0] if data else -1
    if form == _VALUE:
        return data[1:]
    try:
        if form in (_RESPONSE, _RESPONSE_BINARY):
            _, status, length = _ANSWERED.unpack_from(data)
            end = _ANSWERED.size + length
            return HttpResponse(status, data[_ANSWERED.size : end], data[end:], form == _RESPONSE_BINARY)
        if form == _ERROR:
            _, *lengths = _FAILED.unpack_from(data)
            texts, at = [], _FAILED.size
            for length in lengths:
                texts.append(data[at : at + length].decode(errors="replace"))
                at += length
            name, cause, detail, stack = texts
            return ACTOR_ERRORS.get(name, ActorError)(detail, name=name, cause=cause, stack=stack)
    except StructError as error:
        raise ValueError(f"not an answer: {error}") from None
    raise ValueError(f"an answer of form {form}")
