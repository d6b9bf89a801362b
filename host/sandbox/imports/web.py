"""`tenure:edge/web`: web platform work that is slow in an interpreter. Pure: no state, no I/O, nothing of the
tenant's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import ada_url
import orjson

from host.sandbox.call import Call
from host.sandbox.capi import BOOL, STRING
from host.sandbox.crossing import OPTIONAL
from host.sandbox.imports.callback import host_function

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


@host_function("web", "parse-url", STRING, OPTIONAL | STRING, result=OPTIONAL | STRING)
def parse_url(_call: Call, text: bytes, base: bytes | None) -> bytes | None:
    if len(text) > URL_BYTES_MAX:
        return None
    try:
        return _components(ada_url.URL(text.decode(), base=base.decode() if base is not None else None))
    except ValueError:
        return None


@host_function("web", "set-url", STRING, STRING, STRING, result=OPTIONAL | STRING)
def set_url(_call: Call, href: bytes, name: bytes, value: bytes) -> bytes | None:
    attribute = name.decode()
    if attribute not in _SETTERS or len(href) + len(value) > URL_BYTES_MAX:
        return None
    try:
        url = ada_url.URL(href.decode())
        setattr(url, attribute, value.decode())
        return _components(url)
    except ValueError:
        return None


@host_function("web", "encode-utf8", STRING, result=STRING)
def encode_utf8(_call: Call, text: bytes) -> bytes:
    return b64encode(text)


@host_function("web", "decode-utf8", STRING, BOOL, result=OPTIONAL | STRING)
def decode_utf8(_call: Call, text: bytes, fatal: bool) -> bytes | None:
    data = b64decode(text, validate=True)
    try:
        return data.decode().encode() if fatal else _decode_lossily(data)
    except UnicodeDecodeError:
        return None


def _decode_lossily(data: bytes) -> bytes:
    """UTF-8 with each malformed sequence replaced by U+FFFD (Python replaces maximal subparts, as WHATWG asks)."""
    return data.decode(errors="replace").encode()
