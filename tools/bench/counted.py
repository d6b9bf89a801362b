"""Programs whose cost is counted from before they begin: any one, and a host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.kit.process import HostProcess
from tools.bench.counters import HELD, Counter, counter_of


class Held:
    """Makes a program wait until its counter is there. `before` goes before its command line; once only."""

    def __init__(self, folder: Path, name: str, *, cpu: bool = False) -> None:
        self._cpu = cpu
        self._fifo = folder / f"{name}.fifo"
        os.mkfifo(self._fifo)
        self.before = [*HELD, str(self._fifo)]

    def count(self, pid: int) -> Counter:
        """Count from now on, and let the program begin."""
        counter = counter_of(pid, cpu=self._cpu)
        self._fifo.write_text("go\n")
        return counter


class CountedHost(HostProcess):
    """A host with one worker, so that no request crosses processes by chance. Its data is in `folder`."""

    counter: Counter

    def __init__(self, folder: Path, *, cpu: bool = False, flags: Sequence[str] = ()) -> None:
        self._held = Held(folder, "host", cpu=cpu)
        super().__init__(folder / "data", flags=["--workers", "1", *flags], wrapper=self._held.before)

    def launch(self) -> None:
        super().launch()
        self.counter = self._held.count(self.pid)
