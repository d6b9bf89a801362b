"""Runs the load generator, which is compiled from `lg.c` for each run of the bench."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("lg.c")
_GRACE_S = 60.0


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw. `good` replies were checked and counted; latencies are in microseconds."""

    sent: int
    good: int
    bad: int
    lost: int
    unanswered: int
    seconds: float
    requests_per_s: float
    p50_us: float
    p99_us: float
    max_us: float
    cpu_s: float
    first_bad: str

    @property
    def failures(self) -> int:
        return self.sent - self.good


@dataclass(frozen=True)
class Target:
    """Where and what to send. `{key}` and `{number}` as in lg.c."""

    address: str
    host: str
    path: str
    expected: str
    method: str = "GET"
    body: str = ""


class LoadGenerator:
    def __init__(self, folder: Path) -> None:
        """Compile into `folder`. Raises RuntimeError when there is no C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise RuntimeError("the bench needs a C compiler: install gcc or clang")
        self._binary = folder / "lg"
        subprocess.run([compiler, "-O2", "-std=c11", "-o", str(self._binary), str(SOURCE)], check=True)

    def run(
        self,
        target: Target,
        *,
        connections: int,
        seconds: float,
        requests: int | None = None,
        keys: int = 1,
        prefix: str = "k",
        random: bool = False,
        seed: int = 1,
        hosts: Path | None = None,
        rate: float | None = None,
    ) -> Load:
        """Load `target`. Keys are `prefix` and 0 to `keys` - 1, in turn or at random. `hosts`: a file with a Host
        header a line, of which each key has its own. `rate`: requests a second at most, spread evenly.
        """
        command = [
            str(self._binary), "-a", target.address, "-H", target.host, "-m", target.method, "-p", target.path,
            "-b", target.body, "-e", target.expected, "-c", str(connections), "-d", str(seconds),
            "-k", str(keys), "-x", prefix, "-S", str(seed),
        ]  # fmt: skip
        if requests is not None:
            command += ["-n", str(requests)]
        if hosts is not None:
            command += ["-L", str(hosts)]
        if rate is not None:
            command += ["-R", str(rate)]
        if random:
            command.append("-r")
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _GRACE_S)
        if done.returncode != 0:
            raise RuntimeError(f"the load generator failed: {done.stderr.strip()}")
        return Load(**json.loads(done.stdout))
