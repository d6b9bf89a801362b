"""The load of one round: connections that deposit and debit until the host dies under them.

Raw HTTP/1.1 on asyncio streams: what was sent and what was answered must be known exactly, so nothing here may retry,
pool or reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from tools.crash.books import Account, Action, Books

OWN_CONNECTIONS = 32
SHARED_ACCOUNTS = 4
DEPOSITORS_PER_SHARED = 1
DEBITORS_PER_SHARED = 2
_READ_DEADLINE_S = 30.0


@dataclass(frozen=True)
class Site:
    port: int
    host: str


class Connection:
    """One keep-alive connection. Every method raises OSError or asyncio.IncompleteReadError when the host is gone."""

    def __init__(self, site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._site, self._reader, self._writer = site, reader, writer

    @classmethod
    async def open(cls, site: Site) -> Connection:
        return cls(site, *await asyncio.open_connection("127.0.0.1", site.port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """(status, JSON body)."""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._site.host}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("\r\ncontent-length:")[1].split("\r\n")[0])
        return int(head.split(" ")[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def work(site: Site, account: Account, action: Action, wrong: list[str]) -> None:
    """Send `action` over and over until the host is gone. Replies that are neither go to `wrong`."""
    connection = await Connection.open(site)
    path = f"/accounts/{account.name}/{action}"
    try:
        while True:
            account.sent(action)
            status, reply = await connection.ask("POST", path, b'{"amount":1}')
            if status != 200 or reply.get("account") != account.name:
                wrong.append(f"{account.name}: {action} was answered with {status} {reply}")
                return
            account.replied(action, bool(reply.get("ok", True)), int(reply["balance"]))
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        connection.close()


def workers(site: Site, books: Books, wrong: list[str]) -> list[asyncio.Task[None]]:
    """Start all connections of a round."""
    tasks = []
    for number in range(OWN_CONNECTIONS):
        own = books.account(f"own-{number}", alone=True)
        tasks.append(asyncio.create_task(work(site, own, "deposit", wrong)))
    for number in range(SHARED_ACCOUNTS):
        shared = books.account(f"shared-{number}", alone=False)
        for _ in range(DEPOSITORS_PER_SHARED):
            tasks.append(asyncio.create_task(work(site, shared, "deposit", wrong)))
        for _ in range(DEBITORS_PER_SHARED):
            tasks.append(asyncio.create_task(work(site, shared, "debit", wrong)))
    return tasks


async def balances(site: Site, books: Books) -> dict[str, int]:
    """The balance of every account, as the host tells it now; one that cannot be read is missing."""
    found: dict[str, int] = {}
    connection = await Connection.open(site)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        for name in books.accounts:
            async with asyncio.timeout(_READ_DEADLINE_S):
                status, reply = await connection.ask("GET", f"/accounts/{name}/balance")
            if status == 200 and reply.get("account") == name:
                found[name] = int(reply["balance"])
    connection.close()
    return found
