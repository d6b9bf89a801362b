"""Who asks, as far as the connection tells: the address, and whether it is encrypted all the way.

Behind a proxy every connection comes from the proxy, which says in `X-Forwarded-For` and `X-Forwarded-Proto` what it
was asked with. Anybody can send these headers, so they count only on a connection from a proxy that the operator named,
and of the addresses in them only those that such proxies added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network
_IPV6_SITE_BITS = 64
"""Whoever has one address of a network this long has all of it."""


class Visitor(NamedTuple):
    """`address` is an IPv4 address or an IPv6 network, as text; "" if the server does not know it."""

    address: str
    encrypted: bool


def visitor(peer: str, scheme: str, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]) -> Visitor:
    """Of a connection from `peer`, over which a request with `headers` came."""
    encrypted = scheme == "https"
    address = _address(peer)
    if address is None or not _is_one_of(address, proxies):
        return Visitor(_site(address), encrypted)
    sent = [(name.lower(), value.decode("latin-1")) for name, value in headers]
    protocols = [part.strip() for name, value in sent if name == b"x-forwarded-proto" for part in value.split(",")]
    hops = [part.strip() for name, value in sent if name == b"x-forwarded-for" for part in value.split(",")]
    for hop in reversed(hops):
        found = _address(hop)
        if found is None:
            break
        address = found
        if not _is_one_of(found, proxies):
            break
    return Visitor(_site(address), encrypted or protocols[-1:] == ["https"])


def _is_one_of(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.strip("[]"))
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _site(address: IPv4Address | IPv6Address | None) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_SITE_BITS), strict=False))
    return "" if address is None else str(address)
