"""From the Host header to a function's label.

`{label}.{base_domain}`, in any case, with or without a port and a trailing dot; `label` is one DNS label. Anything else
has no label; in another domain it may be a name that a tenant brought along.
"""

from __future__ import annotations

from functools import lru_cache

_REMEMBERED_MAX = 4096
PORT_MAX = 65_535


class HostNames:
    """Knows the base domain that functions live under."""

    def __init__(self, base_domain: str) -> None:
        domain = base_domain.strip(".").lower()
        if not domain:
            raise ValueError("the base domain is empty")
        self._suffix = "." + domain
        self._remembered = lru_cache(_REMEMBERED_MAX)(self._label)
        self._others = lru_cache(_REMEMBERED_MAX)(self._other)

    def label(self, host: bytes) -> str | None:
        """The label in a Host header's value such as `account-0198c2c58a.localhost:8787`, or None."""
        return self._remembered(host)

    def other(self, host: bytes) -> str | None:
        """The name in a Host header's value that is not the host's own, such as `shop.example.com`, or None."""
        return self._others(host)

    def _other(self, host: bytes) -> str | None:
        name = _name(host)
        return None if name.endswith(self._suffix) else name

    def _label(self, host: bytes) -> str | None:
        name = _name(host)
        if not name.endswith(self._suffix):
            return None
        label = name[: -len(self._suffix)]
        return label if label and "." not in label else None


def _name(host: bytes) -> str:
    """In lower case, without port and trailing dot."""
    name = host.decode("latin-1").lower()
    head, colon, port = name.rpartition(":")
    if colon and (not port or (port.isdecimal() and len(port) <= 5 and int(port) <= PORT_MAX)):
        name = head
    return name.removesuffix(".")
