"""What sweeps say of growth, and what they write into documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.bench.growth import Point, worse_than_linear
from tools.bench.plot import Swept
from tools.machine import write_section

SIZES = (1, 10, 100, 1_000, 10_000)


def points(cost: Callable[[int], float]) -> list[Point]:
    return [Point(size, cost(size), 1.0) for size in SIZES]


@pytest.mark.parametrize(
    "cost",
    [
        lambda size: 5.0,
        lambda size: 5.0 + size,
        lambda size: 3.0 * size,
        lambda size: 5.0 + 0.1 * size * (1.05 if size > 100 else 1.0),
        lambda size: 1.0 / size,
    ],
    ids=["constant", "affine", "proportional", "noisy", "falling"],
)
def test_a_cost_that_grows_at_most_in_proportion_is_fine(cost: Callable[[int], float]) -> None:
    assert worse_than_linear(points(cost)) == []


def test_a_cost_that_grows_as_a_square_is_found_where_it_does() -> None:
    found = worse_than_linear(points(lambda size: 10_000.0 + size * size))
    assert [(step.smaller.size, step.larger.size) for step in found] == [(100, 1_000), (1_000, 10_000)]
    assert found[-1].exponent == pytest.approx(2.0, abs=0.01)


def test_sizes_that_are_close_together_say_nothing() -> None:
    assert worse_than_linear([Point(100, 1.0, 1.0), Point(110, 2.0, 1.0)]) == []


def test_a_finding_names_the_sweep_and_the_step() -> None:
    swept = Swept("x", "deposits, by tigers", "tigers", "million instructions", points(lambda size: float(size**2)))
    assert swept.findings()[0].startswith("WORSE THAN LINEAR: deposits, by tigers: from 1 to 10 tigers ")


def test_a_section_is_replaced_and_the_rest_of_its_document_kept(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    for text in ("new", "newer"):
        write_section(document, "a", text)
    assert document.read_text() == "before\n<!-- a -->\nnewer\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="no place for b"):
        write_section(document, "b", "text")
