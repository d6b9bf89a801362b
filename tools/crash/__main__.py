"""`python -m tools.crash`: a line for each round and a summary; exit code 1 when anything was lost or doubled."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tools.crash.rounds import CrashRun, Round


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed kills at the same moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tenure-crash-") as folder:
        rounds = asyncio.run(_run(Path(folder), options.rounds, options.seed))
    violations = sum(len(each.violations) for each in rounds)
    print(
        f"{len(rounds)} rounds, {sum(each.kills for each in rounds)} kills, "
        f"{sum(each.acknowledged for each in rounds):,} requests acknowledged, "
        f"{sum(each.open for each in rounds)} open at a kill, {violations} violations (seed {options.seed})"
    )
    return 1 if violations else 0


async def _run(folder: Path, count: int, seed: int) -> list[Round]:
    run = CrashRun(folder, seed)
    rounds: list[Round] = []
    try:
        await run.start()
        for number in range(1, count + 1):
            rounds.append(await run.round(number))
            print(rounds[-1].line(), flush=True)
            for violation in rounds[-1].violations:
                print(f"    {violation}", flush=True)
    finally:
        run.stop()
    return rounds


if __name__ == "__main__":
    sys.exit(main())
