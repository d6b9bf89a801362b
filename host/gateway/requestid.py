"""Request ids: unique on this host and across its restarts, and nearly free.

Shape: 12 random hexadecimal digits of the process, "-", a counter in hexadecimal.
"""

from __future__ import annotations

import itertools
import os

_FORM = os.urandom(6).hex().encode() + b"-%x"
_count = itertools.count(1)


def new_request_id() -> bytes:
    return _FORM % next(_count)
