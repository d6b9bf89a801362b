"""How a Python function becomes an import of the guest.

`host_function` wraps `answer(call, fields, results)`: `fields` is what the argument layout unpacks to (each value
gives its kind, then its payload: a string gives size and address), `results` the address of the result value.

Invariants:
  - The kinds of the arguments are compared with the declared ones on every call, because a component declares its
    imports itself and a lie about them must not make us read an integer as a pointer, or write to a result that is
    not there.
  - No exception leaves a callback: it is kept in the instance's `failure`, and the guest gets a trap.
  - The instance is found by its context pointer, so it does not matter which thread polls it.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from host.sandbox import capi
from host.sandbox.capi import read_bytes
from host.sandbox.instance import INSTANCES

TABLE: dict[str, dict[str, Any]] = {}
_PAYLOAD_FIELDS = {capi.STRING: 2}

Answer = Callable[[Any, tuple[Any, ...], int], None]


def text(fields: tuple[Any, ...], size_at: int) -> bytes:
    """The bytes of a string argument whose size is at `fields[size_at]` and whose address follows."""
    data: bytes = read_bytes(fields[size_at + 1], fields[size_at])
    return data


def _kind_positions(kinds: tuple[int, ...]) -> list[int]:
    positions, at = [], 0
    for kind in kinds:
        positions.append(at)
        at += 1 + _PAYLOAD_FIELDS.get(kind, 1)
    return positions


def host_function(interface: str, name: str, *kinds: int, returns: bool = True) -> Callable[[Answer], Answer]:
    """Register `answer` as the import `interface#name` with parameters of these kinds, and one result if `returns`."""
    shape = capi.layout(*kinds)
    nresults_expected = int(returns)
    size, unpack, count = shape.size, shape.unpack, len(kinds)
    positions = _kind_positions(kinds)
    kinds_of: Callable[[tuple[Any, ...]], Any] = itemgetter(*positions) if positions else lambda _: ()
    expected: Any = kinds[0] if count == 1 else kinds

    def wrap(answer: Answer) -> Answer:
        def callback(
            _env: int, context: int, _type: int, args: int, nargs: int, results: int, nresults: int
        ) -> int | None:
            instance = INSTANCES.get(context)
            try:
                if instance is None or nargs != count or nresults != nresults_expected:
                    raise ValueError(f"{interface}#{name} was called with {nargs} arguments for {nresults} results")
                fields = unpack(read_bytes(args, size)) if count else ()
                if kinds_of(fields) != expected:
                    raise ValueError(f"{interface}#{name} was called with arguments of other types")
                answer(instance.call, fields, results)
            except BaseException as error:  # nothing may leave a C callback; the call reports it
                if instance is not None:
                    instance.failure = error
                return int(capi.error_new(b"the host refused an import"))
            return None

        TABLE.setdefault(f"tenure:edge/{interface}@0.1.0", {})[name] = capi.HOST_FUNCTION(callback)
        return answer

    return wrap
