"""Plots and tables of sweeps, in docs/performance. Needs matplotlib: `pip install -e '.[bench]'`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.growth import Point, worse_than_linear
from tools.machine import ROOT, Origin, write_section

FOLDER = ROOT / "docs" / "performance"
DOCUMENT = FOLDER / "sweeps.md"


@dataclass(frozen=True)
class Swept:
    """A sweep's points. `axis` names what grows, `unit` is that of the cost."""

    name: str
    title: str
    axis: str
    unit: str
    points: list[Point]

    def findings(self) -> list[str]:
        """A sentence for each step at which the cost grows worse than linear."""
        return [
            f"WORSE THAN LINEAR: {self.title}: from {step.smaller.size:,} to {step.larger.size:,} {self.axis} the cost "
            f"grows as their number to the power of {step.exponent:.2f}"
            for step in worse_than_linear(self.points)
        ]


def check() -> None:
    """Ends the program with a sentence when there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        sys.exit("plots need matplotlib: .venv/bin/python -m pip install -e '.[bench]'")


def write(swept: Sequence[Swept], where: Origin, requests: int) -> None:
    """A plot and a section for each; sections of sweeps that were not made stay as they are."""
    for each in swept:
        _draw(each, where, FOLDER / f"{each.name}.png")
        write_section(DOCUMENT, each.name, _section(each, where, requests))


def _section(each: Swept, where: Origin, requests: int) -> str:
    lines = [
        f"![{each.title}]({each.name}.png)",
        "",
        f"| {each.axis} | {each.unit} | p50, ms |",
        "|---:|---:|---:|",
        *(f"| {point.size:,} | {point.cost:,.2f} | {point.p50_ms:,.2f} |" for point in each.points),
        "",
        *(each.findings() or ["Nowhere worse than linear."]),
        f"{requests} requests a point. {where.text}",
    ]
    return "\n".join(lines)


def _draw(each: Swept, where: Origin, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = [point.size for point in each.points]
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    axes.loglog(sizes, [point.cost for point in each.points], "o-", color="C0", label=f"cost, {each.unit}")
    axes.loglog(sizes, [point.p50_ms for point in each.points], "s--", color="C1", label="p50, ms")
    first = each.points[0]
    axes.loglog(sizes, [first.cost * size / first.size for size in sizes], ":", color="grey", label="linear")
    top = max(max(point.cost, point.p50_ms) for point in each.points)
    axes.set_ylim(bottom=min(min(point.cost, point.p50_ms) for point in each.points) / 2, top=top * 3)
    axes.set_xlabel(each.axis)
    axes.set_title(each.title)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    figure.text(0.01, -0.02, f"{where.day}, commit {where.commit}, {where.cpus} cores of {where.processor}", fontsize=7)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
