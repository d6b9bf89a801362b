"""The values that rooms pass to one another. All are immutable; the hot ones are tuples, which cost least to make.

A *header block* is bytes: `name: value` lines, each ended by a newline, names in lower case (the form in which
headers cross into a guest). A *body* is UTF-8 text, or base64 of the bytes when `binary` is true.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import NamedTuple

from host.model.ids import ActorId
from host.model.trace import Trace


class HttpRequest(NamedTuple):
    method: str
    url: str
    headers: bytes = b""
    body: bytes = b""
    binary: bool = False
    request_id: str = ""
    trace: Trace | None = None


class HttpResponse(NamedTuple):
    status: int
    headers: bytes = b""
    body: bytes = b""
    binary: bool = False


def body_to_wire(data: bytes) -> tuple[bytes, bool]:
    """(body, binary) of raw bytes: as they are when they are UTF-8, else in base64."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return b64encode(data), True
    return data, False


def body_from_wire(body: bytes, binary: bool) -> bytes:
    """The raw bytes of a body. Raises ValueError (binascii.Error) when base64 from a guest is malformed."""
    return b64decode(body, validate=True) if binary else body


def body_size(message: HttpRequest | HttpResponse) -> int:
    """Bytes of the raw body; of one in base64 up to two too many."""
    return len(message.body) * 3 // 4 if message.binary else len(message.body)


class CallContext(NamedTuple):
    """What travels with a call through every call that it makes: the request it began with, who waits for whom, and
    the call's own span when it is traced.
    """

    request_id: str = ""
    chain: tuple[ActorId, ...] = ()
    trace: Trace | None = None

    def within(self, actor: ActorId) -> CallContext:
        """That of a turn of `actor` which this call waits for."""
        trace = self.trace
        return CallContext(self.request_id, (*self.chain, actor), None if trace is None else trace.child())
