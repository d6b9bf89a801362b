"""`tenure:edge/web`: web platform work that is slow in an interpreter. Pure: no state, no I/O, nothing of the
tenant's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import ada_url
import orjson

from host.sandbox import capi
from host.sandbox.capi import BOOL, OPTION, STRING
from host.sandbox.imports.callback import host_function, text

URL_BYTES_MAX = 1 << 20
_SETTERS = frozenset(
    ("href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash")
)


def _components(url: ada_url.URL) -> bytes:
    return orjson.dumps(
        {
            "href": url.href,
            "protocol": url.protocol,
            "username": url.username,
            "password": url.password,
            "host": url.host,
            "hostname": url.hostname,
            "port": url.port,
            "pathname": url.pathname,
            "search": url.search,
            "hash": url.hash,
            "origin": url.origin,
        }
    )


@host_function("web", "parse-url", STRING, OPTION)
def parse_url(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    base = capi.read_option_string(fields[4])
    found: bytes | None = None
    if fields[1] <= URL_BYTES_MAX:
        try:
            found = _components(ada_url.URL(text(fields, 1).decode(), base=base.decode() if base is not None else None))
        except ValueError:
            found = None
    capi.set_option_string(results, found)


@host_function("web", "set-url", STRING, STRING, STRING)
def set_url(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    name = text(fields, 4).decode()
    found: bytes | None = None
    if name in _SETTERS and fields[1] + fields[7] <= URL_BYTES_MAX:
        try:
            url = ada_url.URL(text(fields, 1).decode())
            setattr(url, name, text(fields, 7).decode())
            found = _components(url)
        except ValueError:
            found = None
    capi.set_option_string(results, found)


@host_function("web", "encode-utf8", STRING)
def encode_utf8(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    capi.set_string(results, b64encode(text(fields, 1)))


@host_function("web", "decode-utf8", STRING, BOOL)
def decode_utf8(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    data = b64decode(text(fields, 1), validate=True)
    try:
        found: bytes | None = data.decode().encode() if fields[4] else _decode_lossily(data)
    except UnicodeDecodeError:
        found = None
    capi.set_option_string(results, found)


def _decode_lossily(data: bytes) -> bytes:
    """UTF-8 with each malformed sequence replaced by U+FFFD (Python replaces maximal subparts, as WHATWG asks)."""
    return data.decode(errors="replace").encode()
