"""Hosts with a planted bug, to show that the rounds find it: the real program with one line of thought changed.

A mutant is a copy of the package `host` in which one text is replaced; the host is started from there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.crash.kinds import KINDS, Kind

HOST = Path(__file__).resolve().parents[2] / "host"


@dataclass(frozen=True)
class Mutant:
    """In `file`, `right` is replaced by `wrong`. `found_by` names the kind of round that has to find it."""

    name: str
    file: str
    right: str
    wrong: str
    found_by: str

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if kind.name == self.found_by)

    def make(self, folder: Path) -> Path:
        """Copy the program into `folder` and plant the bug. Raises ValueError when its place is not there."""
        shutil.copytree(HOST, folder / "host", ignore=shutil.ignore_patterns("__pycache__"))
        place = folder / "host" / self.file
        text = place.read_text()
        if text.count(self.right) != 1:
            raise ValueError(f"host/{self.file} has changed: say anew where '{self.name}' is planted")
        place.write_text(text.replace(self.right, self.wrong))
        return folder


MUTANTS = (
    Mutant(
        "acknowledges before the sync",
        "storage/commit.py",
        "        if seq <= self._delivered:\n            self._run(callback, seq)\n            return\n",
        "        callback(None)\n        return\n",
        "power cut",
    ),
    Mutant(
        "never syncs",
        "storage/rocks.py",
        "            self._db.flush_wal(True)\n",
        "            self._db.flush_wal(False)\n",
        "power cut",
    ),
    Mutant(
        "goes on after a sync that failed",
        "storage/commit.py",
        "        self._broken = True\n        self._refusal = BROKEN\n",
        "        self._synced = self._written\n",
        "a sync fails",
    ),
    Mutant(
        "forgets alarms at a restart",
        "actors/alarms.py",
        "    def start(self) -> None:\n        self._look()\n",
        "    def start(self) -> None:\n        pass\n",
        "kill all",
    ),
)
