"""The soak itself: one host, loaded segment by segment, and what its processes hold after each."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.kit.process import HostProcess, tree
from tools.bench.load import Load, LoadGenerator, Target
from tools.bench.memory import memory_of
from tools.crash.rounds import LEDGER
from tools.machine import ROOT
from tools.soak.events import Events, Happenings

SHARE = 0.7
WORKERS = 2
ACCOUNTS, ACTIVATIONS_MAX, IDLE_S = 3_000, 1_000, 5
"""More accounts than fit, so activations leave memory all the time."""

CONNECTIONS = 64
SEGMENT_S, CAPACITY_S = 10.0, 8.0
ACCOUNT = ROOT / "functions" / "account"


class Sample(NamedTuple):
    """One segment of the load: what the host's processes hold at its end, and how it was answered."""

    memory_mib: float
    descriptors: float
    threads: float
    p99_ms: float
    requests_per_s: float


@dataclass
class Result:
    """Of a whole soak. `capacity` is in deposits/s, `problems` are sentences."""

    capacity: float
    minutes: float
    samples: list[Sample]
    acknowledged: int
    failed: int
    events: Events
    problems: list[str]


class Soak:
    """Makes everything in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._generator = LoadGenerator(folder)
        flags = ["--workers", str(WORKERS), "--max-activations", str(ACTIVATIONS_MAX)]
        flags += ["--activation-idle-seconds", str(IDLE_S)]
        self._host = HostProcess(folder / "data", flags=flags)
        self._sent = self._good = 0
        self._problems: list[str] = []
        self._target: Target

    async def run(self, minutes: float) -> Result:
        await asyncio.to_thread(self._host.start)
        try:
            async with self._host.admin() as admin:
                account = await admin.ship(ACCOUNT)
                ledger = await admin.ship(LEDGER)
            self._target = Target(
                f"127.0.0.1:{self._host.port}", account.host, "/accounts/{key}/deposit",
                '{"account":"{key}","balance":{number}}', "POST", '{"amount":1}',
            )  # fmt: skip
            await self._load(CAPACITY_S, None, 0)
            capacity = (await self._load(CAPACITY_S, None, 1)).requests_per_s
            happenings = Happenings(self._host, ACCOUNT, account, ledger)
            samples = await self._segments(minutes * 60, capacity * SHARE, happenings.done)
            await happenings.stop()
            self._problems += [f"{bell} was set and never rang" for bell in await happenings.unrung()]
            self._check_books(await asyncio.to_thread(self._sum_of_balances))
            if code := await asyncio.to_thread(self._host.stop):
                self._problems.append(f"the host ended with exit code {code}")
        finally:
            self._host.kill()
        failed = self._sent - self._good
        return Result(capacity, minutes, samples, self._good, failed, happenings.done, self._problems)

    async def _segments(self, seconds: float, rate: float, events: Events) -> list[Sample]:
        samples: list[Sample] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            load = await self._load(SEGMENT_S, rate, len(samples) + 2)
            if load.failures and not any(at > began - SEGMENT_S for at in events.killed_at):
                self._problems.append(f"{load.failures} requests failed and no worker was killed: {load.first_bad}")
            samples.append(await asyncio.to_thread(self._sample, load))
            print("  ".join(f"{name} {value:,.1f}" for name, value in samples[-1]._asdict().items()), flush=True)
        return samples

    async def _load(self, seconds: float, rate: float | None, seed: int) -> Load:
        load = await asyncio.to_thread(
            self._generator.run, self._target, connections=CONNECTIONS, seconds=seconds, keys=ACCOUNTS, prefix="s",
            random=True, seed=seed, rate=rate,
        )  # fmt: skip
        self._sent += load.sent
        self._good += load.good
        return load

    def _sample(self, load: Load) -> Sample:
        descriptors = threads = 0
        for pid in tree(self._host.pid):
            try:
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))
                threads += len(os.listdir(f"/proc/{pid}/task"))
            except OSError:
                continue
        pss_mib = memory_of(self._host.pid).pss_mib
        return Sample(pss_mib, descriptors, threads, load.p99_us / 1000, load.requests_per_s)

    def _sum_of_balances(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._host.port, timeout=60)
        total = 0
        for number in range(ACCOUNTS):
            connection.request("GET", f"/accounts/s{number}/balance", headers={"host": self._target.host})
            total += int(json.loads(connection.getresponse().read())["balance"])
        connection.close()
        return total

    def _check_books(self, total: int) -> None:
        if not self._good <= total <= self._sent:
            self._problems.append(f"{self._good} deposits were acknowledged of {self._sent}, balances make {total}")
