"""Where a request's time goes: samples all processes of a host under load, by what the sampled code belongs to.

    python -m tools.bench.profile [--seconds 6] [--workers N] [--write]

Needs `perf` (Debian: linux-perf) and leave to use it. `--write` puts the table into docs/performance/profile.md, with
the machine and the commit. Shares are of processor cycles, user code and kernel together, without the load generator's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import tree
from tools.bench.load import Load, LoadGenerator, Target
from tools.bench.subjects import ROOT, Tenure
from tools.machine import origin, write_section

PAGE = ROOT / "docs" / "performance" / "profile.md"
FREQUENCY_HZ = 499
ACCOUNTS, CONNECTIONS = 1_000, 64
TOUCH_S = 60.0
PARTS = {
    "guest": r"\.cwasm$",
    "engine": r"libwasmtime",
    "crossing": r"^_crossing\.|^_ctypes\.|libffi",
    "storage": r"^rocksdict\.",
    "Python": r"^libpython|^python|\.cpython-|\.abi3\.so",
    "kernel": r"^\[kernel|^\[unknown\]|^\[vdso\]",
}
"""What a mapped file belongs to; the first that fits. Anything else is `libc and others`."""
OTHERS = "libc and others"


@dataclass(frozen=True)
class Row:
    """`cpu_us`: of all processes of the host, for each request. `shares`: part -> share of that, together 1."""

    name: str
    load: Load
    cpu_us: float
    shares: Mapping[str, float]


class Profiler:
    def __init__(self, host: Tenure, generator: LoadGenerator, folder: Path, seconds: float) -> None:
        self._host, self._generator, self._seconds = host, generator, seconds
        self._samples = folder / "perf.data"

    def rows(self) -> list[Row]:
        """Raises RuntimeError when perf cannot sample, or a reply was wrong."""
        address, host = self._host.address, self._host.account_host
        hello = Target(address, self._host.hello_host, "/", "hello, world\n")
        reply = '{"account":"{key}","balance":{number}}'
        read = Target(address, host, "/accounts/{key}/balance", reply)
        deposit = Target(address, host, "/accounts/{key}/deposit", reply, "POST", '{"amount":1}')
        self._generator.run(deposit, connections=CONNECTIONS, seconds=TOUCH_S, requests=ACCOUNTS, keys=ACCOUNTS)
        return [
            self._row("hello, 64 connections", hello, CONNECTIONS, 1),
            self._row("balance reads, 64 connections, 1,000 accounts", read, CONNECTIONS, ACCOUNTS),
            self._row("deposits, 64 connections, 1,000 accounts", deposit, CONNECTIONS, ACCOUNTS),
            self._row("one account, deposits, 64 connections", deposit, CONNECTIONS, 1),
            self._row("one account, deposits, 1 connection", deposit, 1, 1),
        ]

    def _row(self, name: str, target: Target, connections: int, keys: int) -> Row:
        pids = tree(self._host.pid)
        command = ["perf", "record", "-q", "-F", str(FREQUENCY_HZ), "-o", str(self._samples)]
        command += ["-p", ",".join(map(str, pids))]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as perf:
            time.sleep(0.5)  # nothing says when sampling has begun
            before = _cpu_s(pids)
            load = self._generator.run(target, connections=connections, seconds=self._seconds, keys=keys, random=True)
            used = _cpu_s(pids) - before
            perf.terminate()
            _, said = perf.communicate()
        if load.failures or not self._samples.exists():
            raise RuntimeError(load.first_bad or said or "a request failed")
        return Row(name, load, used / load.good * 1e6, self._shares())

    def _shares(self) -> dict[str, float]:
        command = ["perf", "report", "-i", str(self._samples), "--stdio", "--no-children", "--sort", "dso"]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: defaultdict[str, float] = defaultdict(float)
        for percent, name in re.findall(r"^\s*([\d.]+)%\s+(\S+)", report, re.MULTILINE):
            part = next((part for part, pattern in PARTS.items() if re.search(pattern, name)), OTHERS)
            found[part] += float(percent)
        total = sum(found.values())
        return {part: share / total for part, share in found.items()}


def _cpu_s(pids: list[int]) -> float:
    """Seconds of processor time that these have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def table(rows: list[Row]) -> str:
    parts = [*PARTS, OTHERS]
    lines = [
        "| Work | requests/s | CPU µs a request | " + " | ".join(parts) + " |",
        "|---|" + "---:|" * (2 + len(parts)),
    ]
    for row in rows:
        shares = " | ".join(f"{row.shares.get(part, 0):.0%}" for part in parts)
        lines.append(f"| {row.name} | {row.load.requests_per_s:,.0f} | {row.cpu_us:,.0f} | {shares} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance/profile.md")
    options = parser.parse_args()
    if shutil.which("perf") is None:
        print("perf is not installed (Debian: linux-perf)", file=sys.stderr)
        return 1
    where = origin()
    with tempfile.TemporaryDirectory(prefix="tenure-profile-") as name:
        folder = Path(name)
        host = Tenure(folder, TOUCH_S, options.workers)
        host.start()
        try:
            text = table(Profiler(host, LoadGenerator(folder), folder, options.seconds).rows())
        finally:
            host.kill()
    text = f"{where.text}\n\n{text}"
    print(text, end="")
    if options.write:
        write_section(PAGE, "profile", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
