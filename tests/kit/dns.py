"""A DNS server on loopback, over UDP: a real one for whom asks it, with the TXT records that a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from host.model.address import Address

TTL_S = 60


class Records(asyncio.DatagramProtocol):
    """`texts` by name, without the dot at its end. `silent`: it never answers; `fails`: it says that it cannot."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.silent = False
        self.fails = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = Address(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent:
            return
        reply = dns.message.make_response(dns.message.from_wire(data))
        (question,) = reply.question
        texts = self.texts.get(question.name.to_text(omit_final_dot=True))
        reply.flags |= dns.flags.RA
        if self.fails:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif texts is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif texts:
            quoted = [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in texts]
            reply.answer.append(dns.rrset.from_text_list(question.name, TTL_S, "IN", "TXT", quoted))
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[Records]:
    transport, records = await asyncio.get_running_loop().create_datagram_endpoint(Records, local_addr=("127.0.0.1", 0))
    try:
        yield records
    finally:
        transport.close()
