"""The table at the end: medians over repetitions, and ours divided by theirs."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from tools.bench.workloads import RATES

Results = dict[str, list[dict[str, Any]]]

_MEMORY = (
    ("memory_idle", "memory, idle"),
    ("memory_touched", "memory, after the first touches"),
    ("memory_settled", "memory, a little later"),
)


def medians(results: Results) -> dict[str, dict[str, Any]]:
    """Medians over repetitions. Shape: {subject: {figure: number or {part: number}}}."""
    return {name: _median_of(repetitions) for name, repetitions in results.items() if repetitions}


def _median_of(repetitions: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for figure, value in repetitions[0].items():
        every = [each[figure] for each in repetitions]
        if isinstance(value, dict):
            found[figure] = {
                key: median(each[key] for each in every) for key in value if isinstance(value[key], int | float)
            }
        else:
            found[figure] = median(every)
    return found


def table(results: Results) -> str:
    """Lines for a terminal. The last column is ours / workerd, where both were measured."""
    middle = medians(results)
    names = list(middle)
    rows = [["", *(name for name in names), "tenure / workerd" if len(names) == 2 else ""]]
    rows += _rows(middle, names)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def _rows(middle: dict[str, dict[str, Any]], names: list[str]) -> Iterator[list[str]]:
    for figure, title in RATES:
        yield _row(middle, names, title + ", requests/s", figure, "requests_per_s", "{:,.0f}", 1)
        yield _row(middle, names, "    p50, ms", figure, "p50_us", "{:,.2f}", 1000)
        yield _row(middle, names, "    p99, ms", figure, "p99_us", "{:,.2f}", 1000)
    for figure, title in _MEMORY:
        yield _row(middle, names, title + ", PSS MiB", figure, "pss_mib", "{:,.0f}", 1)
        yield _row(middle, names, "    USS MiB", figure, "uss_mib", "{:,.0f}", 1)
    yield _row(middle, names, "SIGKILL and restart to a durable reply, s", "restart_s", None, "{:,.2f}", 1)


def _row(
    middle: dict[str, dict[str, Any]],
    names: list[str],
    title: str,
    figure: str,
    key: str | None,
    form: str,
    unit: float,
) -> list[str]:
    values = [middle[name][figure] if key is None else middle[name][figure][key] for name in names]
    ratio = f"{values[0] / values[1]:.2f}" if len(values) == 2 and values[1] else ""
    return [title, *(form.format(value / unit) for value in values), ratio]
