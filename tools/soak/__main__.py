"""`python -m tools.soak --minutes 20`: load a host at 70 % of what it can, with deploys, rollbacks, evictions, alarms
and kills of one worker, and say whether memory, descriptors, threads and p99 are flat at the end.

Exit code 1 when one is not, a request failed that must not, the books do not balance, a bell never rang, or the host
does not end with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from tools.crash.report import DOCUMENT
from tools.machine import Origin, origin, write_section
from tools.soak.load import ACCOUNTS, ACTIVATIONS_MAX, SEGMENT_S, WORKERS, Result, Sample, Soak
from tools.soak.trend import VALUES_MIN, trend

SERIES = {
    "memory_mib": ("memory, PSS, MiB", 0.05),
    "descriptors": ("descriptors", 0.05),
    "threads": ("threads", 0.05),
    "p99_ms": ("p99, ms", 0.25),
}
"""{field of a sample: (title, the share of its mean by which it may rise in the second half)}."""


def verdicts(samples: list[Sample]) -> list[tuple[str, str, str, str, bool]]:
    """(title, mean of the second half, its rise, give or take, flat) of each series."""
    found = []
    for name, (title, share) in SERIES.items():
        line = trend([getattr(sample, name) for sample in samples])
        found.append((title, f"{line.mean:,.1f}", f"{line.rise:+,.1f}", f"{line.error:,.1f}", line.flat(share)))
    return found


def describe(result: Result, where: Origin) -> str:
    """Markdown."""
    events, samples = result.events, result.samples
    share = sum(sample.requests_per_s for sample in samples) / len(samples) / result.capacity
    p99 = statistics.median(sample.p99_ms for sample in samples)
    rows = [
        f"| {title} | {mean} | {rise} | {error} | {'flat' if flat else 'RISES'} |"
        for title, mean, rise, error, flat in verdicts(samples)
    ]
    return "\n".join(
        [
            f"{result.minutes:g} minutes (`python -m tools.soak --minutes {result.minutes:g}`). {where.text} "
            f"{WORKERS} workers, {share:.0%} of {result.capacity:,.0f} deposits/s: {result.acknowledged:,} done, "
            f"{result.failed:,} failed at a kill, median p99 {p99:.1f} ms. {events.deploys} deploys, "
            f"{events.rollbacks} rollbacks, {len(events.killed_at)} kills of a worker, {len(events.bells):,} alarms, "
            f"{ACCOUNTS:,} accounts of which {ACTIVATIONS_MAX:,} fit into memory.",
            "",
            "| Over the second half | mean | rise | give or take | |",
            "|---|---:|---:|---:|---|",
            *rows,
            "",
            *(result.problems or ["The books balanced, every alarm fired, the host ended with exit code 0."]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N")
    parser.add_argument("--write", action="store_true", help="put the result into docs/durability.md")
    options = parser.parse_args()
    if options.minutes * 60 < VALUES_MIN * SEGMENT_S:
        parser.error(f"say nothing below {VALUES_MIN * SEGMENT_S / 60:g} minutes")
    where = origin()
    with tempfile.TemporaryDirectory(prefix="tenure-soak-") as folder:
        result = asyncio.run(Soak(Path(folder)).run(options.minutes))
    text = describe(result, where)
    print(text)
    if options.write:
        write_section(DOCUMENT, "soak", text)
    return 0 if not result.problems and all(flat for *_, flat in verdicts(result.samples)) else 1


if __name__ == "__main__":
    sys.exit(main())
