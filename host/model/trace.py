"""Where a call is in a distributed trace, in the words of W3C Trace Context: what `traceparent` says.

Shape of the header: `00-` trace id (32 hexadecimal digits) `-` span id (16) `-` flags (2, of which 01 says "sampled").

A call has a `Trace` only when its trace is sampled, so that a host that traces nothing pays for none of this.
"""

from __future__ import annotations

import os
import random
import re
from typing import NamedTuple

_HEADER = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_FIRST_VERSION_BYTES = 55
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_random = random.Random(os.urandom(16))  # ids are to be unique, not secret


class Trace(NamedTuple):
    """One span of a trace: `span_id` is its own, `parent_id` that of the span it is part of, or "" for the first."""

    trace_id: str
    span_id: str
    parent_id: str = ""

    def child(self) -> Trace:
        """A new span within this one."""
        return Trace(self.trace_id, f"{_random.getrandbits(64) or 1:016x}", self.span_id)

    @property
    def header(self) -> bytes:
        """The value of `traceparent` for what this span asks others."""
        return b"00-%s-%s-01" % (self.trace_id.encode(), self.span_id.encode())


def parse_traceparent(value: bytes) -> tuple[Trace, bool] | None:
    """(the caller's span, whether it is sampled), or None for a header that says nothing."""
    found = _HEADER.fullmatch(value)
    if found is None or (value.startswith(b"00-") and len(value) != _FIRST_VERSION_BYTES):
        return None
    trace_id, span_id = found[1].decode(), found[2].decode()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Trace(trace_id, span_id), bool(int(found[3], 16) & 1)


def traced(headers: bytes, trace: Trace) -> bytes:
    """A header block that names `trace` in place of what it named before."""
    kept = [line for line in headers.split(b"\n") if line and not line.startswith(b"traceparent: ")]
    return b"\n".join([*kept, b"traceparent: " + trace.header, b""])


def traceparent_of(headers: bytes) -> bytes:
    """The value of `traceparent` in a header block, or b""."""
    at = 0 if headers.startswith(b"traceparent: ") else headers.find(b"\ntraceparent: ") + 1
    if not at and not headers.startswith(b"traceparent: "):
        return b""
    return headers[at + len(b"traceparent: ") : headers.index(b"\n", at)]


class Sampler:
    """Decides which requests are traced: `share` of those that come without a trace, and those whose caller traces."""

    def __init__(self, share: float) -> None:
        self._share = share

    def begin(self, traceparent: bytes = b"") -> Trace | None:
        """The span of a request that comes in, or None when it is not traced."""
        caller = parse_traceparent(traceparent) if traceparent else None
        if caller is not None:
            parent, sampled = caller
            return parent.child() if sampled else None
        root = self.root()
        return None if root is None else root.child()

    def root(self) -> Trace | None:
        """A trace of which there is no span yet, or None: what a call begins with that nobody made, an alarm's."""
        return Trace(f"{_random.getrandbits(128) or 1:032x}", "") if _random.random() < self._share else None
