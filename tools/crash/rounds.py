"""One run on one host and one data folder: round after round, load, a blow of some kind, and then the books.

The seed decides the kinds, the moments and the victims. Every kind comes once before any comes again.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.kit.until import wait_until
from tools.crash.books import Books
from tools.crash.disk import NoSmallDisk, SmallDisk
from tools.crash.faults import Faults
from tools.crash.host import CrashHost
from tools.crash.kinds import KINDS, Kind, Stage
from tools.crash.traffic import Auditor, Connection, Load, Site

ROOT = Path(__file__).resolve().parents[2]
LEDGER = Path(__file__).with_name("ledger")
STOPPED_S = 5.0
WORKERS = 2
_FIRST_REPLY_S = 30.0
BELLS_LATE_S = 20.0


@dataclass(frozen=True)
class Round:
    """`acknowledged` requests and bells were answered, of `open` ones nobody knows. `back_s` is from the blow, or from
    the start of the processes when all were killed, to the host's answer.
    """

    number: int
    kind: str
    acknowledged: int
    open: int
    bells: int
    blows: int
    back_s: float
    seconds: float
    notes: list[str]
    violations: list[str]

    def line(self) -> str:
        verdict = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return (
            f"round {self.number:3} {self.kind:24} {self.acknowledged:6} acknowledged, {self.open:3} open, "
            f"{self.bells:3} bells, back in {self.back_s:5.2f} s: {verdict}{notes}"
        )


class CrashRun:
    """Rounds on one host. `folder` is for the run alone; `program` is a folder to take the package `host` from."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        workers: int = WORKERS,
        stopped_s: float = STOPPED_S,
        program: Path | None = None,
    ) -> None:
        self._seed, self._workers, self._stopped_s = seed, workers, stopped_s
        self.missing: dict[str, str] = {}
        """What this machine cannot do, and why: {need: reason}."""
        self._faults = self._disk = None
        try:
            self._faults = Faults(folder)
        except RuntimeError as error:
            self.missing["faults"] = str(error)
        try:
            self._disk = SmallDisk(folder)
        except NoSmallDisk as error:
            self.missing["disk"] = str(error)
        data = (self._disk.path if self._disk else folder) / "data"
        self._host = CrashHost(data, workers=workers, faults=self._faults, program=program)
        self._host.log = folder / "host.log"
        self._books = Books()
        self._site = Site(self._host.port, "", workers)

    async def start(self) -> None:
        """Start the host and ship the ledger. Whatever is `missing` is known afterwards."""
        self._host.start()
        if self._faults is not None and not self._faults.attached:
            self.missing["faults"] = "the host lets no library be preloaded"
        async with self._host.admin() as admin:
            shipped = await admin.ship(LEDGER)
        self._site = Site(self._host.port, shipped.host, self._workers)

    @property
    def disk(self) -> str:
        return self._disk.kind if self._disk is not None else "the folder's own"

    def left_out(self) -> list[tuple[str, str]]:
        """(kind, reason) of those that cannot be done here."""
        return [(kind.name, self.missing[kind.needs]) for kind in KINDS if kind.needs in self.missing]

    def kinds(self) -> list[Kind]:
        """Those that can be done here."""
        return [kind for kind in KINDS if kind.needs not in self.missing]

    def kind_of(self, number: int) -> Kind:
        """The kind of round `number`, from 1: every so many rounds are a permutation of all kinds."""
        kinds = self.kinds()
        cycle, place = divmod(number - 1, len(kinds))
        return random.Random(f"{self._seed}/kinds/{cycle}").sample(kinds, len(kinds))[place]

    async def round(self, number: int, kind: Kind | None = None) -> Round:
        kind = kind or self.kind_of(number)
        began = time.monotonic()
        load = Load(self._site, self._books, number)
        chance = random.Random(f"{self._seed}/{number}")
        stage = Stage(self._host, load, chance, self._workers, self._stopped_s, faults=self._faults, disk=self._disk)
        # from the first reply on, so that a slow machine does not make empty rounds
        await wait_until(lambda: self._books.acknowledged, "the first reply", _FIRST_REPLY_S)
        await kind.act(stage)
        acknowledged, still_open = self._books.acknowledged, self._books.open
        bells = sum(bell.acknowledged for bell in self._books.bells.values())
        violations = stage.violations + await self._settle(number)
        seconds = time.monotonic() - began
        return Round(
            number, kind.name, acknowledged, still_open, bells, stage.blows, stage.back_s, seconds, stage.notes,
            violations,
        )  # fmt: skip

    async def _settle(self, number: int) -> list[str]:
        """Read everything, bells when all that were acknowledged must have rung, and compare."""
        connection = await Connection.open(self._site)
        auditor = Auditor(connection)
        try:
            found: dict[str, tuple[int, dict[str, int]]] = {}
            for name in self._books.accounts:
                with contextlib.suppress(AssertionError):  # the books say which cannot be read
                    found[name] = await auditor.account(name, f"{number}.")
            rung: dict[str, int] = {}
            due = max((bell.due for bell in self._books.bells.values()), default=0.0)
            for bell in self._books.bells.values():
                if bell.acknowledged:
                    patience_s = max(due - time.time(), 0.0) + BELLS_LATE_S
                    with contextlib.suppress(AssertionError):  # the books say which did not
                        heard = partial(auditor.rung, bell.name)
                        rung[bell.name] = await wait_until(heard, f"the ring of {bell.name}", patience_s)
        finally:
            connection.close()
        return self._books.settle(found, rung)

    @property
    def rung_again(self) -> int:
        """Bells that rang more than once, which is allowed: at least once is what is promised."""
        return self._books.rung_again

    def stop(self) -> None:
        try:
            self._host.kill()
        finally:
            if self._disk is not None:
                self._disk.close()
