"""A short crash run and the strace proof; `make crash` is the long one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.crash.rounds import ROOT, CrashRun


async def test_no_acknowledged_deposit_is_lost_or_doubled_when_the_host_is_killed_under_load(tmp_path: Path) -> None:
    run = CrashRun(tmp_path, seed=7)
    try:
        await run.start()
        rounds = [await run.round(number) for number in (1, 2)]
    finally:
        run.stop()
    assert [violation for each in rounds for violation in each.violations] == []
    assert all(each.acknowledged > 0 and each.open > 0 for each in rounds)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_deposit_is_synced_before_it_is_answered() -> None:
    command = [sys.executable, "-m", "tools.crash.sync_before_reply"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
