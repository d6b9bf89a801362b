"""What a run of many rounds found, as a table: for a terminal and for docs/durability.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.crash.rounds import Round
from tools.machine import Origin

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "durability.md"
COLUMNS = ("blow", "rounds", "acknowledged", "open", "bells", "back, s (median, worst)", "violations")


def rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """One for each kind, by name, and one for all."""
    kinds = sorted({each.kind for each in rounds})
    groups = [(kind, [each for each in rounds if each.kind == kind]) for kind in kinds]
    return [_row(name, group) for name, group in [*groups, ("all", list(rounds))]]


def _row(name: str, rounds: list[Round]) -> tuple[str, ...]:
    back = [each.back_s for each in rounds]
    return (
        name,
        str(len(rounds)),
        f"{sum(each.acknowledged for each in rounds):,}",
        f"{sum(each.open for each in rounds):,}",
        f"{sum(each.bells for each in rounds):,}",
        "" if name == "all" else f"{statistics.median(back):.2f}, {max(back):.2f}",
        str(sum(len(each.violations) for each in rounds)),
    )


def terminal(rounds: Sequence[Round]) -> str:
    table = [COLUMNS, *rows(rounds)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    )


def markdown(
    rounds: Sequence[Round], *, seed: int, rung_again: int, disk: str, missing: Iterable[str], origin: Origin
) -> str:
    """A section's text."""
    lines = [
        f"{len(rounds)} rounds (`python -m tools.crash --rounds {len(rounds)} --seed {seed}`), "
        f"{sum(each.blows for each in rounds)} blows, logs torn in {torn(rounds)} rounds, "
        f"{sum(each.seconds for each in rounds) / 60:.0f} minutes. {origin.text} Data on {disk}.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * (len(COLUMNS) - 1),
        *("| " + " | ".join(row) + " |" for row in rows(rounds)),
        "",
        f"{rung_again} bells rang more than once.",
    ]
    return "\n".join([*lines, *(f"Left out: {each}." for each in missing)])


def torn(rounds: Sequence[Round]) -> int:
    """Rounds in which a log had something to tear off."""
    return sum(any(" bytes " in note for note in each.notes) for each in rounds)
