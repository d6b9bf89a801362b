"""Two workers of one host, one of them a process that is killed under load: nothing acknowledged is lost, nothing is
done twice, and each caller's calls are done in order.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from host.model.errors import ActorCrashedError, ActorError, ActorOverloadedError
from host.model.version import Version
from tests.kit.bundles import ROOT
from tests.kit.cluster import Worker, WorkerProcess, linked, name_on, open_workers
from tests.kit.rooms import version_of
from tests.kit.until import wait_until

ACCOUNT = ROOT / "functions" / "account"
CALLERS, DEPOSITS = 50, 200


@pytest.fixture(scope="module")
def account() -> Version:
    return version_of(ACCOUNT)


class Books:
    """What the callers were told: deposits that were acknowledged, and those of which nobody knows, by account."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.refused = 0
        self.calls = 0

    async def caller(self, worker: Worker, name: str, count: int) -> None:
        """Deposits of 1, several under way at once, whose balances have to grow in the order of the calls."""
        last = 0
        for _ in range(count // 4):
            sent = [worker.invoke(name, "deposit", 1, type="Account") for _ in range(4)]
            for outcome in await asyncio.gather(*sent, return_exceptions=True):
                self.calls += 1
                if isinstance(outcome, ActorCrashedError):
                    self.unknown[name] += 1
                elif isinstance(outcome, ActorOverloadedError):
                    self.refused += 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    assert outcome["balance"] > last, "two calls of one caller changed places"
                    last = outcome["balance"]
                    self.done[name] += 1

    async def check(self, worker: Worker, names: list[str]) -> None:
        for name in names:
            balance = (await worker.invoke(name, "balance", type="Account"))["balance"]
            assert self.done[name] <= balance <= self.done[name] + self.unknown[name], name


async def test_ten_thousand_calls_cross_in_order_while_the_other_worker_is_killed_again_and_again(
    tmp_path: Path, account: Version
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    chance, books = random.Random(seed), Books()
    names = [name_on(number % 2, 2, f"{number}-", type="Account") for number in range(CALLERS)]
    other = WorkerProcess(tmp_path, 1, 2, 2, ACCOUNT)
    try:
        async with open_workers(tmp_path, 2, here=1, version=account) as (here,):
            await other.start()
            await linked(here, 1)
            load = asyncio.gather(*(books.caller(here, name, DEPOSITS) for name in names))
            for _ in range(3):
                until = books.calls + chance.randrange(500, 2_000)
                await wait_until(lambda until=until: load.done() or books.calls > until, "the load", 60)
                other.kill()
                await other.start()
            await asyncio.wait_for(load, 60)
            assert books.calls == CALLERS * DEPOSITS
            assert sum(books.unknown.values()) > 0, "no call was under way when its worker died"
            assert books.refused == 0, "a worker that was back within seconds had calls refused"
            near = [name for number, name in enumerate(names) if number % 2 == 0]
            assert sum(books.unknown[name] for name in near) == 0, "calls of the worker that lived failed"
            await books.check(here, names)
            assert (here.directory.sent, here.directory.arrived) == ({}, {})
    finally:
        other.kill()


async def test_a_worker_that_stands_still_holds_up_only_its_own_actors(tmp_path: Path, account: Version) -> None:
    near, far = (name_on(slot, 2, "account", type="Account") for slot in range(2))
    other = WorkerProcess(tmp_path, 1, 2, 2, ACCOUNT)
    try:
        async with open_workers(tmp_path, 2, here=1, version=account) as (here,):
            await other.start()
            await linked(here, 1)
            await here.invoke(far, "deposit", 1, type="Account")
            other.signal(signal.SIGSTOP)
            late = [here.invoke(far, "deposit", 1, type="Account") for _ in range(20)]
            for _ in range(50):
                await here.invoke(near, "deposit", 1, type="Account")
            assert not any(each.done() for each in late)
            other.signal(signal.SIGCONT)
            balances = [(await asyncio.wait_for(each, 10))["balance"] for each in late]
            assert balances == list(range(2, 22))
    finally:
        other.kill()


async def test_what_was_written_before_a_kill_is_there_for_a_worker_with_the_same_shards(
    tmp_path: Path, account: Version
) -> None:
    """Four shards: the worker that is killed has two of them, each an engine of its own."""
    names = [name_on(1, 2, f"{number}-", shards=4, type="Account") for number in range(8)]
    other = WorkerProcess(tmp_path, 1, 2, 4, ACCOUNT)
    try:
        async with open_workers(tmp_path, 2, 4, here=1, version=account) as (here,):
            await other.start()
            await linked(here, 1)
            for amount, name in enumerate(names, 1):
                await here.invoke(name, "deposit", amount, type="Account")
            other.kill()
            await other.start()
            balances = [(await here.invoke(name, "balance", type="Account"))["balance"] for name in names]
            assert balances == list(range(1, 9))
            with pytest.raises(ActorError):
                await here.invoke(names[0], "missing", type="Account")
    finally:
        other.kill()
