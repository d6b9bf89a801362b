"""How a call ended, as the rooms above are told."""

from __future__ import annotations

from typing import Literal, NamedTuple

from host.model.message import HttpResponse

Kind = Literal[
    "returned",  # the guest said `return`: `value`
    "responded",  # the guest said `respond`: `response`
    "failed",  # the guest said `fail` or `relay`: `name`, `message`, `cause` (of `relay`), `stack`
    "stalled",  # it waits for something that can never come; the instance is dropped
    "timed-out",  # over its wall-clock limit; dropped
    "block-timed-out",  # over the limit of blockConcurrencyWhile; dropped
    "crashed",  # trap, CPU limit, a broken rule of the contract: `message` says which; dropped
    "cancelled",  # nobody waits for it any more; dropped
]


class Outcome(NamedTuple):
    kind: Kind
    value: bytes = b""
    response: HttpResponse | None = None
    name: str = ""
    message: str = ""
    stack: str = ""
    cause: str = ""
