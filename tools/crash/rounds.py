"""One round: load, SIGKILL at a seeded moment, start again on the same data, count."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import HostProcess
from tests.kit.until import wait_until
from tools.crash.books import Books
from tools.crash.traffic import Site, balances, workers

ROOT = Path(__file__).resolve().parents[2]
_KILL_AFTER_S = (0.2, 1.5)
_KILL_WHILE_STARTING_SHARE = 0.25
_STARTING_S = (0.02, 0.6)
_FIRST_REPLY_S = 30.0


@dataclass(frozen=True)
class Round:
    """`acknowledged` replies came before the kill, `open` requests were under way at it."""

    number: int
    loaded_s: float
    acknowledged: int
    open: int
    kills: int
    restart_s: float
    violations: list[str]

    def line(self) -> str:
        verdict = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        return (
            f"round {self.number:3}: {self.acknowledged:6} acknowledged in {self.loaded_s:.2f} s, "
            f"{self.open:3} open at the kill, {self.kills} kill{'s' if self.kills > 1 else ' '}, "
            f"back in {self.restart_s:.2f} s: {verdict}"
        )


class CrashRun:
    """Rounds on one host and one data folder. `seed` decides every moment of every kill."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._host = HostProcess(folder / "data")
        self._seed = seed
        self._books = Books()
        self._site = Site(self._host.port, "")

    async def start(self) -> None:
        """Start the host and ship the account function."""
        await asyncio.to_thread(self._host.start)
        async with self._host.admin() as admin:
            shipped = await admin.ship(ROOT / "functions" / "account")
        self._site = Site(self._host.port, shipped.host)

    async def round(self, number: int) -> Round:
        chance = random.Random(f"{self._seed}/{number}")
        loaded_s = chance.uniform(*_KILL_AFTER_S)
        wrong: list[str] = []
        tasks = workers(self._site, self._books, wrong)
        # from the first reply on, so that a slow machine does not make empty rounds
        await wait_until(lambda: self._books.acknowledged, "the first reply", _FIRST_REPLY_S)
        await asyncio.sleep(loaded_s)
        await asyncio.to_thread(self._host.kill)
        await asyncio.gather(*tasks)
        acknowledged, still_open = self._books.acknowledged, self._books.open
        kills = 1
        if chance.random() < _KILL_WHILE_STARTING_SHARE:
            self._host.launch()
            await asyncio.sleep(chance.uniform(*_STARTING_S))
            await asyncio.to_thread(self._host.kill)
            kills += 1
        restart_s = await asyncio.to_thread(self._host.start)
        violations = self._books.settle(await balances(self._site, self._books))
        return Round(number, loaded_s, acknowledged, still_open, kills, restart_s, wrong + violations)

    def stop(self) -> None:
        self._host.kill()
