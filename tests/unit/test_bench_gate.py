"""The gate's judgement, and what it counts with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench.counters import HELD, CannotCount, CpuSeconds, Instructions
from tools.bench.gate import SLACK, Ratio, judge

UNIT = Instructions.unit
REFERENCES = {UNIT: {"deposit": 8.0}, "p50": {"alone": 1.9}}


def test_a_cost_within_its_slack_passes() -> None:
    lines, faults = judge([Ratio("deposit", UNIT, 8.0 * SLACK[UNIT])], REFERENCES)
    assert faults == {}
    assert len(lines) == 1


def test_a_cost_beyond_its_slack_is_a_fault_that_says_what_to_do() -> None:
    _, faults = judge([Ratio("deposit", UNIT, 8.0 * SLACK[UNIT] + 0.1)], REFERENCES)
    assert faults.keys() == {"deposit"}
    assert "--record" in faults["deposit"]


def test_each_unit_has_its_own_reference_and_slack() -> None:
    _, faults = judge([Ratio("deposit", UNIT, 8.0), Ratio("alone", "p50", 8.0)], REFERENCES)
    assert faults.keys() == {"alone"}


def test_what_has_no_reference_is_shown_and_never_a_fault() -> None:
    lines, faults = judge([Ratio("something new", UNIT, 100.0)], REFERENCES)
    assert faults == {}
    assert "no reference" in lines[0]


def test_a_cost_far_below_its_reference_asks_to_be_recorded() -> None:
    lines, faults = judge([Ratio("deposit", UNIT, 4.0)], REFERENCES)
    assert faults == {}
    assert "record it" in lines[0]


WORK = "import subprocess, sys; sum(range(1_000_000)); subprocess.run([sys.executable, '-c', 'sum(range(9_000_000))'])"


@pytest.mark.parametrize("kind", [Instructions, CpuSeconds])
def test_what_a_held_process_and_its_children_do_is_counted(
    kind: type[Instructions] | type[CpuSeconds], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", str(fifo)], check=True)
    # it lives on, until its input is closed, so that its time can still be read
    program = [sys.executable, "-c", f"{WORK}; print('done', flush=True); input()"]
    process = subprocess.Popen([*HELD, str(fifo), *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        try:
            counter = kind(process.pid)
        except CannotCount as error:
            pytest.skip(f"instructions are not counted here: {error}")
        before = counter.read()
        fifo.write_text("go\n")
        assert process.stdout is not None
        process.stdout.readline()
        counted = counter.read() - before
        counter.close()
    finally:
        process.kill()
        process.communicate()
    assert counted > (100_000_000 if kind is Instructions else 0.03)
