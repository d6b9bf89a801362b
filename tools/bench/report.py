"""The tables at the end: medians over repetitions, and ours divided by theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from tools.bench.workloads import RATES

Results = dict[str, list[dict[str, Any]]]

_MEMORY = (
    ("memory_idle", "memory, idle"),
    ("memory_touched", "memory, after the first touches"),
    ("memory_settled", "memory, a little later"),
)


@dataclass(frozen=True)
class Aim:
    """What a figure is to be: ours divided by theirs, or ours alone where the text says so."""

    title: str
    figure: str
    key: str | None
    form: str
    unit: float
    text: str


AIMS = (
    Aim("hello, requests/s", "hello", "requests_per_s", "{:,.0f}", 1, "1 or more"),
    Aim("durable deposits, requests/s", "deposits", "requests_per_s", "{:,.0f}", 1, "5 or more"),
    Aim("durable deposits, p50 in ms", "deposits", "p50_us", "{:,.1f}", 1000, "0.25 or less"),
    Aim("balance reads, requests/s", "reads", "requests_per_s", "{:,.0f}", 1, "2 or more"),
    Aim("one account, 1 connection, p50 in ms", "hot_1", "p50_us", "{:,.2f}", 1000, "0.5 or less"),
    Aim("one account, 64 connections, requests/s", "hot_64", "requests_per_s", "{:,.0f}", 1, "5 or more"),
    Aim("first touch, requests/s", "touch", "requests_per_s", "{:,.0f}", 1, "10 or more"),
    Aim("memory after the touches, PSS in MiB", "memory_touched", "pss_mib", "{:,.0f}", 1, "1 or less"),
    Aim("SIGKILL to the next durable reply, s", "restart_s", None, "{:,.2f}", 1, "ours below 1 s"),
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


def page(results: Results) -> str:
    """A table for a document: ours and theirs as medians, and the ratio in each repetition. Both must be there."""
    middle = medians(results)
    lines = [
        "| Work | aim | tenure | workerd | tenure / workerd | in each repetition |",
        "|---|---|---:|---:|---:|---|",
    ]
    for aim in AIMS:
        ours, theirs = (_figure(middle[name], aim.figure, aim.key) for name in ("tenure", "workerd"))
        each = [
            f"{_figure(one, aim.figure, aim.key) / _figure(other, aim.figure, aim.key):.2f}"
            for one, other in zip(results["tenure"], results["workerd"], strict=True)
        ]
        shown = [aim.form.format(value / aim.unit) for value in (ours, theirs)]
        lines.append(f"| {aim.title} | {aim.text} | {' | '.join(shown)} | {ours / theirs:.2f} | {', '.join(each)} |")
    return "\n".join(lines)


def _figure(figures: dict[str, Any], figure: str, key: str | None) -> float:
    return float(figures[figure] if key is None else figures[figure][key])


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
    values = [_figure(middle[name], figure, key) for name in names]
    ratio = f"{values[0] / values[1]:.2f}" if len(values) == 2 and values[1] else ""
    return [title, *(form.format(value / unit) for value in values), ratio]
