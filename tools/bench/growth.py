"""Does a cost grow worse than what it is measured against? No I/O.

A cost with a part that is fixed and a part in proportion grows slower than its size, so from one size to the next the
exponent of its growth is at most 1. Above it, by more than noise, doubling the size more than doubles the cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

EXPONENT_MAX = 1.15
STEP_MIN = 1.5
"""Sizes that are closer together say nothing."""


class Point(NamedTuple):
    """At `size`, one call costs `cost`, in any unit, and takes `p50_ms`."""

    size: int
    cost: float
    p50_ms: float


class Step(NamedTuple):
    """From one size to the next, cost grows as size to the power of `exponent`."""

    smaller: Point
    larger: Point
    exponent: float


def steps(points: Sequence[Point]) -> list[Step]:
    """In order of size."""
    ordered = sorted(points)
    found = []
    for smaller, larger in itertools.pairwise(ordered):
        if larger.size >= smaller.size * STEP_MIN and smaller.cost > 0:
            exponent = math.log(max(larger.cost, 1e-9) / smaller.cost) / math.log(larger.size / smaller.size)
            found.append(Step(smaller, larger, exponent))
    return found


def worse_than_linear(points: Sequence[Point]) -> list[Step]:
    return [step for step in steps(points) if step.exponent > EXPONENT_MAX]
