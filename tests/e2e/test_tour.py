"""`make tour` does what docs/tour.md shows, and everything in it is as it should be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tools.machine import ROOT
from tools.tour import PAGE, steps

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif("CI" in os.environ, reason="a minute and a half that CI's quarter of an hour has no room for"),
]


def test_the_tour_goes_as_its_page_says() -> None:
    ended = subprocess.run([sys.executable, "-m", "tools.tour"], cwd=ROOT, capture_output=True, text=True, timeout=360)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    shown = PAGE.read_text().partition("```console\n")[2].partition("```\n")[0]
    assert steps(ended.stdout) == steps(shown), "renew it with `python -m tools.tour --write`"
