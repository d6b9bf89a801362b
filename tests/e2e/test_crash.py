"""One round of each kind, a planted bug, and the strace proof; `make crash` is the long run."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.crash.kinds import KINDS, Kind
from tools.crash.mutants import MUTANTS
from tools.crash.rounds import ROOT, CrashRun

STOPPED_S = 1.0
PLANTED_ROUNDS_MAX = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashRun]:
    """All kinds do their harm to one host, as in the long run."""
    with running(tmp_path_factory.mktemp("crash")) as run:
        yield run


@contextlib.contextmanager
def running(folder: Path, program: Path | None = None) -> Iterator[CrashRun]:
    run = CrashRun(folder, seed=7, stopped_s=STOPPED_S, program=program)
    try:
        asyncio.run(run.start())
        yield run
    finally:
        run.stop()


def skip_what_is_missing(run: CrashRun, kind: Kind) -> None:
    if kind.needs in run.missing:
        pytest.skip(run.missing[kind.needs])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
async def test_no_acknowledged_deposit_is_lost_or_doubled_and_no_bell_is_forgotten(run: CrashRun, kind: Kind) -> None:
    skip_what_is_missing(run, kind)
    done = await run.round(KINDS.index(kind) + 1, kind)
    assert done.violations == []
    assert done.blows > 0
    assert done.acknowledged > 0
    assert done.bells > 0


def test_a_host_that_acknowledges_before_the_sync_is_found(tmp_path: Path) -> None:
    mutant = next(each for each in MUTANTS if each.name == "acknowledges before the sync")
    with running(tmp_path, mutant.make(tmp_path / "mutant")) as run:
        skip_what_is_missing(run, mutant.kind)
        found: list[str] = []
        for number in range(1, PLANTED_ROUNDS_MAX + 1):
            found += asyncio.run(run.round(number, mutant.kind)).violations
            if any(violation.endswith("was acknowledged and is lost") for violation in found):
                return
    pytest.fail(f"{PLANTED_ROUNDS_MAX} rounds did not find it, only {found}")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_deposit_is_synced_before_it_is_answered() -> None:
    command = [sys.executable, "-m", "tools.crash.sync_before_reply"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
