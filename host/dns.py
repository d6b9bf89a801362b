"""Asking DNS for texts: the proof that a tenant's host name is its own (`registry.domains`).

A question runs in a thread, few of them at once, and ends after `ANSWER_S`. Nothing is remembered: who asks again has
changed something, and what a resolver on the way remembers is long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from host.model.address import Address
from host.model.errors import Unavailable
from host.telemetry import log

ANSWER_S = 5.0
AT_ONCE_MAX = 4
TEXTS_MAX = 50

_log = log.get("dns")


class Resolver:
    """Asks `server`, or those that the machine asks."""

    def __init__(self, server: Address | None = None) -> None:
        self._server = server
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    async def txt(self, name: str) -> Sequence[str]:
        """See `registry.ports.Resolver`."""
        async with self._at_once:
            return await asyncio.to_thread(_txt, self._server, name)


def _txt(server: Address | None, name: str) -> Sequence[str]:
    import dns.exception  # a host that nobody asks for a name starts without it
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver(configure=server is None)
        if server is not None:
            resolver.nameservers, resolver.port = [server.host], server.port
        answer = resolver.resolve(name + ".", "TXT", lifetime=ANSWER_S, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        _log.warn("dns_not_answered", name=name, error=error)
        raise Unavailable(f"DNS did not answer for {name}. Try again in a moment.") from error
    return [b"".join(record.strings).decode("ascii", "replace") for record in list(answer)[:TEXTS_MAX]]
