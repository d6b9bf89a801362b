"""`python -m tools.bench.gate`: has the host become more expensive? Compares ratios, takes under a minute.

A request's cost here is divided by that of the least that answers one (`baseline.py`), measured in the same run on the
same machine, and held against the ratios in `gate.json`. What is compared are instructions of user code, which noise
hardly moves; a machine that does not count them falls back to CPU time, with more slack. Waiting costs no instructions,
so the time to answer one request at a time is compared too, with the most slack, and against a baseline that syncs.

Exit code 1 when a ratio is above its reference by more than its slack, and is so again when it is measured once more.
Where a cost is meant, `--record` writes the new references, and the commit says why.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.process import free_port
from tools.bench.counted import CountedHost, Held
from tools.bench.counters import CpuSeconds, Instructions
from tools.bench.load import Load, LoadGenerator, Target
from tools.machine import ROOT, origin

REFERENCE = Path(__file__).with_name("gate.json")
SLACK = {Instructions.unit: 1.25, CpuSeconds.unit: 2.0, "p50": 4.0}
"""By unit, how many times its reference a ratio may be."""

BETTER_BELOW = 0.75
CONNECTIONS, ACCOUNTS = 32, 200
REQUESTS = {"baseline": 1_500, "hello": 700, "deposit": 500, "read": 500, "first touch": 70}
PASSES = 3
"""The cheapest counts: what disturbs only ever adds."""

ALONE_REQUESTS, ALONE_TIMES = 60, 12
ALONE = "deposit, one at a time"
SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Ratio:
    """What `work` costs in `unit`, in that of a request of the baseline."""

    work: str
    unit: str
    value: float


def judge(ratios: list[Ratio], references: Mapping[str, Mapping[str, float]]) -> tuple[list[str], dict[str, str]]:
    """(a line for each ratio, by work a sentence for each that is too high). `references`: {unit: {work: ratio}}."""
    lines: list[str] = []
    faults: dict[str, str] = {}
    for ratio in ratios:
        reference = references.get(ratio.unit, {}).get(ratio.work)
        line = f"{ratio.work:24} {ratio.value:8.1f} times the baseline's {ratio.unit}"
        if reference is None:
            lines.append(f"{line}; no reference")
            continue
        most = reference * SLACK[ratio.unit]
        better = "; better: record it" if ratio.value < reference * BETTER_BELOW and ratio.unit != "p50" else ""
        lines.append(f"{line}; reference {reference:.1f}, up to {most:.1f}{better}")
        if ratio.value > most:
            faults[ratio.work] = (
                f"{ratio.work}: {ratio.value:.1f} times the baseline's {ratio.unit}, where {reference:.1f} is the "
                f"reference and {most:.1f} the most. Find what made it so (docs/performance/README.md says how to "
                "profile); if it is meant, record it with --record and say why."
            )
    return lines, faults


class Measurement:
    """One host and one baseline, both running, measured in turn. Makes everything in `folder`. `cpu`: of CPU time."""

    def __init__(self, folder: Path, cpu: bool) -> None:
        self._generator = LoadGenerator(folder)
        held = Held(folder, "baseline", cpu=cpu)
        port = free_port()
        command = [*held.before, sys.executable, "-m", "tools.bench.baseline", str(port), str(folder / "log")]
        self._baseline = subprocess.Popen(command, cwd=ROOT)
        self._counters = {"baseline": held.count(self._baseline.pid)}
        self._host = CountedHost(folder, cpu=cpu)
        self._host.start()
        self._counters["host"] = self._host.counter
        account, hello = asyncio.run(self._ship())
        address = f"127.0.0.1:{self._host.port}"
        reply = '{"account":"{key}","balance":{number}}'
        deposit = ("/accounts/{key}/deposit", reply, "POST", '{"amount":1}')
        self._targets = {
            "baseline": Target(f"127.0.0.1:{port}", "localhost", *deposit),
            "kept": Target(f"127.0.0.1:{port}", "localhost", "/accounts/{key}/kept", *deposit[1:]),
            "hello": Target(address, hello, "/", "hello, world\n"),
            "deposit": Target(address, account, *deposit),
            "read": Target(address, account, "/accounts/{key}/balance", reply),
            "first touch": Target(address, account, *deposit),
        }

    async def _ship(self) -> list[str]:
        async with self._host.admin() as admin:
            return [(await admin.ship(ROOT / "functions" / name)).host for name in ("account", "hello")]

    def close(self) -> None:
        self._host.kill()
        self._baseline.kill()
        self._baseline.wait()
        for counter in self._counters.values():
            counter.close()

    def ratios(self) -> list[Ratio]:
        for work in ("baseline", "hello", "deposit"):  # everything is there and warm
            self._load(work, REQUESTS[work])
        passes = [{work: self._cost(work, number) for work in REQUESTS} for number in range(PASSES)]
        costs = {work: min(each[work] for each in passes) for work in REQUESTS}
        unit = self._counters["host"].unit
        found = [Ratio(work, unit, cost / costs["baseline"]) for work, cost in costs.items() if work != "baseline"]
        alone: dict[str, list[float]] = {"kept": [], "deposit": []}
        for _ in range(ALONE_TIMES):
            for work, times in alone.items():
                times.append(self._load(work, ALONE_REQUESTS, connections=1, keys=1).p50_us)
        return [*found, Ratio(ALONE, "p50", min(alone["deposit"]) / min(alone["kept"]))]

    def _cost(self, work: str, number: int) -> float:
        """Of one request, in the counter's unit, in pass `number`."""
        counter = self._counters["baseline" if work == "baseline" else "host"]
        prefix, keys = (f"touch-{number}-", REQUESTS[work]) if work == "first touch" else ("a", ACCOUNTS)
        before = counter.read()
        self._load(work, REQUESTS[work], prefix=prefix, keys=keys)
        return (counter.read() - before) / REQUESTS[work]

    def _load(
        self, work: str, requests: int, connections: int = CONNECTIONS, keys: int = ACCOUNTS, prefix: str = "a"
    ) -> Load:
        load = self._generator.run(
            self._targets[work],
            connections=connections,
            seconds=SECONDS_MAX,
            requests=requests,
            keys=keys,
            prefix=prefix,
        )
        if load.failures or load.sent < requests:
            raise RuntimeError(f"{work}: {load.good} good replies to {requests} requests; first bad: {load.first_bad}")
        return load


def _look(references: Mapping[str, Any], cpu: bool) -> tuple[list[Ratio], dict[str, str]]:
    """Measure and print. (ratios, what is too expensive, by its work)."""
    with tempfile.TemporaryDirectory(prefix="tenure-gate-") as folder:
        measurement = Measurement(Path(folder), cpu)
        try:
            ratios = measurement.ratios()
        finally:
            measurement.close()
    lines, faults = judge(ratios, references["ratios"])
    print("\n".join(lines), flush=True)
    return ratios, faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.gate", description=__doc__)
    parser.add_argument("--record", action="store_true", help="make what is measured now the reference")
    parser.add_argument("--cpu", action="store_true", help="compare CPU time, as where instructions are not counted")
    options = parser.parse_args()
    references = json.loads(REFERENCE.read_text())
    ratios, faults = _look(references, options.cpu)
    if faults and not options.record:
        print("once more, in case something disturbed it:")
        again = _look(references, options.cpu)[1]
        faults = {work: fault for work, fault in again.items() if work in faults}
    if options.record:
        for ratio in ratios:
            references["ratios"].setdefault(ratio.unit, {})[ratio.work] = round(ratio.value, 2)
        references["origin"] = origin().text
        REFERENCE.write_text(json.dumps(references, indent=2) + "\n")
        return 0
    for fault in faults.values():
        print(f"TOO EXPENSIVE: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
