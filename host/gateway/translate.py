"""Between what an HTTP server speaks (ASGI) and what crosses into a guest (`host.model.message`).

Shape of a header block: `name: value` lines, UTF-8, each ended by a newline. On the wire a header value is bytes that
HTTP reads as Latin-1, so both directions translate between the two.

Both sides are hostile. A client must not be able to add a line to the block that a guest reads; a guest must not be
able to add a line to the reply, to frame it (the host alone sets its length) or to speak for the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from host.model.errors import HandlerReplyError, TooLarge, UsageError
from host.model.message import HttpResponse, body_from_wire

Headers = Iterable[tuple[bytes, bytes]]

# They belong to one connection, not to the message (RFC 9110, 7.6.1). `expect` is answered by the host itself.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# What the host says itself in every reply; a guest's own would be a second, contradicting one.
HOST_SETS = HOP_BY_HOP | {b"content-length", b"date", b"x-request-id"}

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CACHED_BLOCK_BYTES_MAX = 512


class RequestHead(NamedTuple):
    """What the gateway needs to know of a request before its body.

    `block` holds the headers for the guest, without `x-request-id`. `length` is the declared content-length, or None
    when there is none; `framed` says that a body may follow; `request_id` is the client's when it is sane, else b"".
    """

    host: bytes
    block: bytes
    length: int | None
    framed: bool
    upgrade: bytes
    request_id: bytes


def read_head(headers: Headers) -> RequestHead:
    """Sort the headers of a request. Raises UsageError (400) when their framing is ambiguous."""
    lines: list[bytes] = []
    host = upgrade = request_id = b""
    hosts = lengths = 0
    length: int | None = None
    chunked = False
    for name, value in headers:
        if name == b"host":
            host = value
            hosts += 1
        elif name == b"content-length":
            length = _content_length(value)
            lengths += 1
        elif name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value):
                request_id = value
            continue
        elif name in HOP_BY_HOP:
            if name == b"transfer-encoding":
                chunked = True
            elif name == b"upgrade":
                upgrade = value.strip().lower()
            continue
        lines += (name, b": ", value, b"\n")
    block = b"".join(lines)
    if hosts != 1:
        raise UsageError("The request needs exactly one Host header.")
    if lengths + chunked > 1:
        raise UsageError("The request says its length twice; send either Content-Length or Transfer-Encoding, once.")
    _refuse_line_breaks(block, len(lines) // 4)
    if not block.isascii():
        block = block.decode("latin-1").encode()
    return RequestHead(host, block, length, chunked or bool(length), upgrade, request_id)


def _refuse_line_breaks(block: bytes, lines: int) -> None:
    """The servers refuse these already; a guest's headers must not rest on that alone."""
    if block.count(b"\n") != lines or b"\r" in block or b"\0" in block:
        raise UsageError("A header holds a line break or a NUL.")


def _content_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise UsageError("Content-Length is not a number of bytes.")
    return int(value)


def request_target(raw_path: bytes, query: bytes) -> str:
    """Path and query of a URL, as the client sent them. Raises UsageError when the target is neither path nor URL."""
    if not raw_path.startswith(b"/"):
        scheme, separator, rest = raw_path.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise UsageError("The request target must be a path.")
        raw_path = b"/" + rest.partition(b"/")[2]
    target = raw_path + b"?" + query if query else raw_path
    return target.decode("latin-1")


class Reply(NamedTuple):
    """`headers` without those of `HOST_SETS`. `length` is None where HTTP forbids a content-length."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    length: int | None


def read_reply(response: HttpResponse, method: str, body_bytes_max: int, head_bytes_max: int) -> Reply:
    """Check a guest's response and make it sendable. Raises HandlerReplyError (502), saying what cannot be sent."""
    status, block, body, binary = response
    if not 200 <= status <= 599:
        raise HandlerReplyError(f"The function replied with status {status}; a reply has one of 200 to 599.")
    if len(block) <= _CACHED_BLOCK_BYTES_MAX:
        headers = _cached_headers(block)
    elif len(block) <= head_bytes_max:
        headers = reply_headers(block)
    else:
        raise HandlerReplyError(f"The headers of the function's reply are over {head_bytes_max} bytes.")
    if binary:
        body = _decode(body, body_bytes_max)
    if len(body) > body_bytes_max:
        raise HandlerReplyError(f"The body of the function's reply is over {body_bytes_max} bytes.")
    if status in (204, 304):
        return Reply(status, headers, b"", None)
    if status == 205:
        return Reply(status, headers, b"", 0)
    return Reply(status, headers, b"" if method == "HEAD" else body, len(body))


def _decode(body: bytes, body_bytes_max: int) -> bytes:
    if len(body) // 4 * 3 > body_bytes_max + 2:
        raise HandlerReplyError(f"The body of the function's reply is over {body_bytes_max} bytes.")
    try:
        return body_from_wire(body, True)
    except ValueError:
        raise HandlerReplyError("The body of the function's reply is not valid base64.") from None


def reply_headers(block: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """A guest's header block as pairs, in order, duplicates kept. Raises HandlerReplyError, naming the header."""
    headers: list[tuple[bytes, bytes]] = []
    lines = block.split(b"\n")
    if lines.pop():
        raise HandlerReplyError("The headers of the function's reply do not end with a newline.")
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(raw_name):
            raise HandlerReplyError(f"The function's reply has a bad header name: {_shown(raw_name)}.")
        name = raw_name.lower()
        if name not in HOST_SETS:
            headers.append((name, _header_value(name, raw_value)))
    return tuple(headers)


# Most functions send the same few blocks over and over; parsing one costs more than all the rest of a small reply.
_cached_headers = lru_cache(maxsize=1024)(reply_headers)


def _header_value(name: bytes, raw: bytes) -> bytes:
    shown = _shown(name)
    try:
        text = raw.decode().strip(" \t")
    except UnicodeDecodeError:
        raise HandlerReplyError(f"The value of the header {shown} in the function's reply is not UTF-8.") from None
    if _CONTROL.search(text):
        raise HandlerReplyError(f"The value of the header {shown} in the function's reply has a control character.")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise HandlerReplyError(
            f"The value of the header {shown} in the function's reply has a character above U+00FF, "
            "which HTTP headers cannot carry; encode it."
        ) from None


def _shown(name: bytes) -> str:
    return repr(name[:64].decode("latin-1"))


def too_large(body_bytes_max: int) -> TooLarge:
    return TooLarge(f"The request's body is over {body_bytes_max} bytes.")
