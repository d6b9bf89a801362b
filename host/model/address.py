"""Where a server listens, and how that is written."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """Where a server listens: a host name or address without brackets, and a port (0 = any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT` or `:PORT` (all addresses). Raises ValueError with a sentence for the user."""
    name, separator, digits = text.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if not separator or not digits.isascii() or not digits.isdigit() or (":" in name and not bracketed):
        raise ValueError(f"'{text}' is not an address: write HOST:PORT, such as 127.0.0.1:8787 or [::1]:8787")
    port = int(digits)
    if port > 65535:
        raise ValueError(f"'{text}' has a port above 65535")
    return Address(name[1:-1] if bracketed else name or "0.0.0.0", port)
