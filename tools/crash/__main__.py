"""`python -m tools.crash`: a line for each round and a table; exit code 1 when a promise was broken.

Every kind of blow comes once before any comes again. Kinds that cannot be done here are named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tools.crash import report
from tools.crash.mutants import MUTANTS, Mutant
from tools.crash.rounds import STOPPED_S, WORKERS, CrashRun, Round
from tools.machine import origin, write_section

PLANTED_ROUNDS_MAX = 5


def main() -> int:
    options = _options()
    return asyncio.run(_find_planted(options) if options.planted else _crash(options))


async def _crash(options: argparse.Namespace) -> int:
    where = origin()
    rounds: list[Round] = []
    async with _running(options) as run:
        missing = [f"{kind}, because {reason}" for kind, reason in run.left_out()]
        for each in missing:
            print(f"LEFT OUT: {each}", flush=True)
        for number in range(1, options.rounds + 1):
            rounds.append(await run.round(number))
            print(rounds[-1].line(), flush=True)
            for violation in rounds[-1].violations:
                print(f"    {violation}", flush=True)
    print(f"\n{report.terminal(rounds)}\n")
    violations = sum(len(each.violations) for each in rounds)
    print(
        f"{len(rounds)} rounds, {sum(each.blows for each in rounds)} blows, logs torn in {report.torn(rounds)} rounds, "
        f"{run.rung_again} bells rang more than once, {violations} violations (seed {options.seed})"
    )
    if options.write:
        text = report.markdown(
            rounds, seed=options.seed, rung_again=run.rung_again, disk=run.disk, missing=missing, origin=where
        )
        write_section(report.DOCUMENT, "crash", text)
    return 1 if violations else 0


async def _find_planted(options: argparse.Namespace) -> int:
    """Run each host with a planted bug until a round finds it. Exit code 1 when one is not found."""
    hidden = 0
    for mutant in MUTANTS:
        number, violation = await _hunt(mutant, options)
        hidden += not violation
        verdict = f"found in round {number}: {violation}" if violation else f"NOT FOUND in {number} rounds"
        print(f"a host that {mutant.name}: {verdict}", flush=True)
    return 1 if hidden else 0


async def _hunt(mutant: Mutant, options: argparse.Namespace) -> tuple[int, str]:
    """(rounds, the first violation or "")."""
    with tempfile.TemporaryDirectory(prefix="tenure-mutant-") as folder:
        async with _running(options, mutant.make(Path(folder))) as run:
            for number in range(1, PLANTED_ROUNDS_MAX + 1):
                violations = (await run.round(number, mutant.kind)).violations
                if violations:
                    return number, violations[0]
    return PLANTED_ROUNDS_MAX, ""


@contextlib.asynccontextmanager
async def _running(options: argparse.Namespace, program: Path | None = None) -> AsyncIterator[CrashRun]:
    with tempfile.TemporaryDirectory(prefix="tenure-crash-") as folder:
        run = CrashRun(
            Path(folder), options.seed, workers=options.workers, stopped_s=options.stopped_seconds, program=program
        )
        try:
            await run.start()
            yield run
        finally:
            run.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="decides kinds, moments and victims")
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N", help="worker processes of the host")
    parser.add_argument(
        "--stopped-seconds", type=float, default=STOPPED_S, metavar="S", help="how long a worker is stopped"
    )
    parser.add_argument(
        "--planted", action="store_true", help="instead, run hosts with planted bugs: each must be found"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/durability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
