"""`python -m tools.bench`: measure, print the table, exit 1 when a host answered wrongly."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from host.config import worker_count
from tools.bench.load import LoadGenerator
from tools.bench.report import Results, medians, page, table
from tools.bench.subjects import ROOT, Subject, Tenure, Workerd
from tools.bench.workloads import Plan, Repetition, WrongAnswer
from tools.machine import Origin, origin, write_section

SUBJECTS = ("tenure", "workerd")
PAGE = ROOT / "docs" / "performance" / "comparison.md"


def main() -> int:
    options = _options()
    plan = Plan(seconds=4, warm_up_s=1, touches=options.touches, settle_s=2)
    if options.quick:
        plan = Plan(seconds=1, warm_up_s=0.3, touches=min(options.touches, 1_000), settle_s=0.5)
    repetitions = 1 if options.quick else options.repetitions
    where = origin()
    names = [options.only] if options.only else list(SUBJECTS)
    results: Results = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="tenure-bench-") as scratch:
        generator = LoadGenerator(Path(scratch))
        for number in range(repetitions):
            # who goes first changes, so that a machine that slows down does not always hit the same one
            for name in names if number % 2 == 0 else names[::-1]:
                print(f"\n{name}, repetition {number + 1} of {repetitions}", flush=True)
                folder = Path(scratch) / f"{name}-{number}"
                folder.mkdir()
                try:
                    results[name].append(_measure(_subject(name, folder, options), generator, plan))
                except WrongAnswer as error:
                    print(f"WRONG: {error}", file=sys.stderr)
                    return 1
    print(f"\n{where.text} {describe(options)}\n\n{table(results)}")
    if options.out:
        record = _record(results, plan, where, worker_count(options.workers))
        options.out.write_text(json.dumps(record, indent=2) + "\n")
        print(f"\nwritten to {options.out}")
    if options.write:
        runs = f"Medians of {repetitions} repetitions. {where.text} {describe(options)}"
        write_section(PAGE, "comparison", f"{page(results)}\n\n{runs}")
    return 0


def _measure(subject: Subject, generator: LoadGenerator, plan: Plan) -> dict[str, Any]:
    try:
        subject.start()
        return Repetition(subject, generator, plan, lambda line: print(f"  {line}", flush=True)).run()
    finally:
        subject.kill()


def _subject(name: str, folder: Path, options: argparse.Namespace) -> Subject:
    if name == "tenure":
        return Tenure(folder, options.touch_seconds, options.workers)
    return Workerd(folder, options.touch_seconds)


def describe(options: argparse.Namespace) -> str:
    return f"Tenure with {worker_count(options.workers)} workers."


def _record(results: Results, plan: Plan, where: Origin, workers: int) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "origin": asdict(where),
        "workers": workers,
        "plan": {"seconds": plan.seconds, "touches": plan.touches},
        "medians": medians(results),
        "repetitions": results,
        "seconds_of_run": round(time.monotonic() - _BEGAN, 1),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument("--touches", type=int, default=10_000, metavar="N", help="accounts of the first touch")
    parser.add_argument(
        "--touch-seconds", type=float, default=90.0, metavar="S", help="time limit of the first touches"
    )
    parser.add_argument("--only", choices=SUBJECTS)
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes of tenure (the number of cores)")
    parser.add_argument("--quick", action="store_true", help="one short repetition, about a minute")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance/comparison.md")
    options = parser.parse_args()
    if options.write and (options.only or options.quick):
        parser.error("what is written compares both, in full: without --only and --quick")
    return options


_BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
