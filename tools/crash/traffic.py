"""The load of one round: connections that deposit, debit and set bells, while the host dies under them.

Raw HTTP/1.1 on asyncio streams: what was sent and what was answered must be known exactly, so nothing here may retry or
pool. A connection that is lost is opened again, and its request stays one of which nobody knows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from host.model.ids import ActorId
from host.registry.records import DEFAULT_TENANT
from host.storage.layout import shard_of
from tools.crash.books import Account, Books

OWN_CONNECTIONS = 24
SHARED_ACCOUNTS = 4
SHARED_AMOUNTS = (1, -1, -1)
"""A connection each for every shared account: one deposits, two debit."""

BELL_CONNECTIONS = 2
BELL_IN_MS_MAX = 1_500
BELL_PAUSE_S = 0.01
DEADLINE_S = 40.0
_REOPEN_S = 0.02
_GONE = (OSError, asyncio.IncompleteReadError, TimeoutError)


@dataclass(frozen=True)
class Site:
    """Where the function is. `shards` is the number of the host's shards."""

    port: int
    host: str
    shards: int

    def shard_of_account(self, name: str) -> int:
        return shard_of(ActorId(DEFAULT_TENANT, "Ledger", name), self.shards)

    def shard_of_bell(self, name: str) -> int:
        return shard_of(ActorId(DEFAULT_TENANT, "Bell", name), self.shards)


class Connection:
    """One keep-alive connection. Every method raises OSError or asyncio.IncompleteReadError when the host is gone."""

    def __init__(self, site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._site, self._reader, self._writer = site, reader, writer

    @classmethod
    async def open(cls, site: Site) -> Connection:
        return cls(site, *await asyncio.open_connection("127.0.0.1", site.port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """(status, JSON body). Raises TimeoutError when there is no answer within DEADLINE_S."""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._site.host}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        async with asyncio.timeout(DEADLINE_S):
            self._writer.write(head.encode() + b"\r\n" + body)
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("\r\ncontent-length:")[1].split("\r\n")[0])
            return int(head.split(" ")[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Failure:
    """An error that was answered, or a connection that was lost (`status` 0). `at` is of the monotonic clock."""

    shard: int
    status: int
    detail: str
    at: float

    @property
    def lost(self) -> bool:
        return self.status == 0


class Answered(NamedTuple):
    """When a request was sent, and when its reply came (monotonic clock)."""

    sent: float
    replied: float


class Load:
    """All connections of a round, from when this is made. `number` is the round's."""

    def __init__(self, site: Site, books: Books, number: int) -> None:
        self._site, self._books, self._number = site, books, number
        self._over = False
        self.failures: list[Failure] = []
        self.answered: dict[int, Answered] = {}
        """By shard: the request that was acknowledged last."""
        self._tasks = [asyncio.create_task(work) for work in self._work()]

    def _work(self) -> Iterator[Any]:
        for number in range(OWN_CONNECTIONS):
            yield self._post_to(self._books.account(f"own-{number}", alone=True), 1, "d")
        for number in range(SHARED_ACCOUNTS):
            account = self._books.account(f"shared-{number}", alone=False)
            for place, amount in enumerate(SHARED_AMOUNTS):
                yield self._post_to(account, amount, f"s{place}")
        for number in range(BELL_CONNECTIONS):
            yield self._set_bells(number)

    def stop_sending(self) -> None:
        """No request is sent from now on."""
        self._over = True

    async def finish(self) -> None:
        """Send no more, and wait for the answers to what was sent, or for the end of their connections."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _post_to(self, account: Account, amount: int, prefix: str) -> None:
        """Send one request after the other."""
        shard = self._site.shard_of_account(account.name)
        serial = 0
        while not self._over:
            connection = await self._connect(shard)
            try:
                while connection is not None and not self._over:
                    serial += 1
                    request = f"{self._number}.{prefix}.{serial:06}"
                    account.send(request, amount)
                    began = time.monotonic()
                    path = f"/ledgers/{account.name}/{request}?amount={amount}"
                    try:
                        status, reply = await connection.ask("POST", path)
                    except _GONE:
                        account.fail(request)
                        raise
                    if status != 200:
                        account.fail(request)
                        self._failed(shard, status, json.dumps(reply))
                        continue
                    account.replied(request, bool(reply["ok"]), int(reply["balance"]))
                    self.answered[shard] = Answered(began, time.monotonic())
            except _GONE as error:
                self._failed(shard, 0, repr(error))
            finally:
                if connection is not None:
                    connection.close()

    async def _set_bells(self, place: int) -> None:
        serial = 0
        while not self._over:
            connection = await self._connect(-1)
            shard = -1
            try:
                while connection is not None and not self._over:
                    serial += 1
                    in_ms = serial * 397 % BELL_IN_MS_MAX
                    bell = self._books.bell(f"bell-{self._number}-{place}-{serial}", time.time() + in_ms / 1000)
                    shard = self._site.shard_of_bell(bell.name)
                    status, reply = await connection.ask("POST", f"/bells/{bell.name}?in={in_ms}")
                    if status != 200:
                        self._failed(shard, status, json.dumps(reply))
                    bell.acknowledged = status == 200
                    await asyncio.sleep(BELL_PAUSE_S)
            except _GONE as error:
                self._failed(shard, 0, repr(error))
            finally:
                if connection is not None:
                    connection.close()

    async def _connect(self, shard: int) -> Connection | None:
        try:
            return await Connection.open(self._site)
        except OSError as error:
            self._failed(shard, 0, repr(error))
            await asyncio.sleep(_REOPEN_S)
            return None

    def _failed(self, shard: int, status: int, detail: str) -> None:
        if not (self._over and status == 0):
            self.failures.append(Failure(shard, status, detail[:300], time.monotonic()))


class Auditor:
    """Reads what the host holds, over one connection. Methods raise AssertionError when it cannot be read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def account(self, name: str, prefix: str) -> tuple[int, dict[str, int]]:
        """The balance, and how often each request was applied whose id begins with `prefix`."""
        applied: dict[str, int] = {}
        after = ""
        while True:
            page = await self._get(f"/ledgers/{name}?prefix={prefix}&after={after}")
            applied.update(page["applied"])
            if not page["applied"]:
                return int(page["balance"]), applied
            after = page["applied"][-1][0]

    async def rung(self, bell: str) -> int:
        return int((await self._get(f"/bells/{bell}"))["rung"])

    async def _get(self, path: str) -> Any:
        status, reply = await self._connection.ask("GET", path)
        assert status == 200, f"GET {path} was answered with {status} {reply}"
        return reply
