"""The host that is crashed: `tenure serve`, with the faults library in its processes, and each process known.

Workers outlive their control process, so they are found by what all of the host's processes have in their environment,
not by who started them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import HostProcess, free_port
from tests.kit.until import wait_until
from tools.crash.faults import Faults

MARK = "TENURE_CRASH_RUN"
_WORKER_PROGRAM = b"host.worker_process"
_ENDS_S = 10.0


@dataclass(frozen=True)
class WorkerFound:
    """A worker process, and the shards whose storage it has open."""

    pid: int
    shards: frozenset[int]


class CrashHost(HostProcess):
    """On the data folder `data`. `faults` are preloaded, if there are any; `program` is a folder to take the package
    `host` from instead of this one.
    """

    def __init__(self, data: Path, *, workers: int, faults: Faults | None, program: Path | None = None) -> None:
        self._marking = f"{data}:{free_port()}"
        environment = {MARK: self._marking, **(faults.environment if faults else {})}
        if program is not None:
            environment["PYTHONPATH"] = str(program)
        wrapper = ["env", *(f"{name}={value}" for name, value in environment.items())]
        super().__init__(data, flags=["--workers", str(workers)], wrapper=wrapper)

    def processes(self) -> list[int]:
        """All that are alive: control process, nursery, workers, compilers."""
        mark = f"{MARK}={self._marking}".encode()
        return [pid for pid in _all_processes() if mark in _read(pid, "environ").split(b"\0") and not _ended(pid)]

    def shard_workers(self) -> list[WorkerFound]:
        """Those that have shards open."""
        found = []
        for pid in self.processes():
            if _WORKER_PROGRAM in _read(pid, "cmdline"):
                shards = frozenset(self._shards_open_in(pid))
                if shards:
                    found.append(WorkerFound(pid, shards))
        return sorted(found, key=lambda worker: min(worker.shards))

    async def whole(self, count: int, deadline_s: float = 20.0) -> list[WorkerFound]:
        """All `count` workers, once they are there."""
        await wait_until(lambda: len(self.shard_workers()) == count, f"{count} workers", deadline_s)
        return self.shard_workers()

    def kill_control(self) -> None:
        """SIGKILL to the control process alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to every process of the host, also those whose control process died, and wait until all are gone."""
        end = time.monotonic() + _ENDS_S
        killed: set[int] = set()
        # one that ends loses its environment before its files, so those that were seen are waited for by their number
        while alive := self.processes() + [pid for pid in killed if not _ended(pid)]:
            killed.update(alive)
            signal_all(alive, signal.SIGSTOP)  # or the last to be killed would tell clients that the first is gone
            signal_all(alive, signal.SIGKILL)
            if time.monotonic() > end:
                raise AssertionError(f"processes {alive} outlive SIGKILL")
            if self._process is not None:
                self._process.poll()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _shards_open_in(self, pid: int) -> Iterator[int]:
        """By the engines' lock files."""
        data = os.path.realpath(self.data)
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = Path(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
                    if path.name == "LOCK" and path.is_relative_to(data) and path.parent.name.isdigit():
                        yield int(path.parent.name)


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _ended(pid: int) -> bool:
    """A process whose first thread has ended may have others that still hold its files."""
    stat = _read(pid, "stat")
    if not stat or stat[stat.rindex(b")") + 2 :].split()[0] not in (b"Z", b"X"):
        return not stat
    try:
        return len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True
