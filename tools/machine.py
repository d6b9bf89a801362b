"""Which machine and which commit a figure is of, for every document that has figures; and where in it they stand.

Between two marks a document's text is a tool's: `write_section` replaces it and leaves the rest alone.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Origin:
    """Where figures come from. `commit` ends in "+" when the working tree differs from it."""

    day: str
    commit: str
    processor: str
    cpus: int
    memory_gib: float
    system: str
    load: float

    @property
    def text(self) -> str:
        """One or two sentences."""
        busy = f" Other work ran on it (load {self.load:.1f} at the start)." if self.load > 0.5 else ""
        return (
            f"{self.day}, commit {self.commit}, on {self.cpus} cores of {self.processor}, {self.memory_gib:.0f} GiB, "
            f"{self.system}.{busy}"
        )


def origin() -> Origin:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpus = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return Origin(
        datetime.now(UTC).date().isoformat(), _commit(), _processor(), cpus, memory, system, os.getloadavg()[0]
    )


def write_section(document: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`. Raises ValueError when they are not there."""
    before, begin, rest = document.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not begin or not end:
        raise ValueError(f"{document} has no place for {name}")
    document.write_text(f"{before}{begin}{text.rstrip()}\n{end}{after}")


def _commit() -> str:
    try:
        number = _git("rev-parse", "--short=10", "HEAD")
        return number + (
            "+" if _git("status", "--porcelain", "--untracked-files=no", "--", "host", "guest_sdk") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
