"""Is a series flat at its end? No I/O.

A straight line is laid through the second half, where warming up is over. It is flat when, over that half, the line
rises by less than a share of the half's mean, or by less than chance would make of points that scatter as these do.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

VALUES_MIN = 6
SCATTER_MAX = 3.0
"""Standard errors of the slope: a rise of fewer is chance."""


class Trend(NamedTuple):
    """Over the second half: its `mean`, and by how much the line rises from its begin to its end (`rise`), give or take
    `error`.
    """

    mean: float
    rise: float
    error: float

    def flat(self, share_max: float) -> bool:
        return self.rise <= abs(self.mean) * share_max or self.rise <= SCATTER_MAX * self.error


def trend(values: Sequence[float]) -> Trend:
    """Of at least VALUES_MIN values, evenly spaced. Raises ValueError for fewer."""
    if len(values) < VALUES_MIN:
        raise ValueError(f"a trend needs at least {VALUES_MIN} values, and there are {len(values)}")
    half = values[len(values) // 2 :]
    places = range(len(half))
    slope, start = statistics.linear_regression(places, half)
    spread = sum((place - statistics.fmean(places)) ** 2 for place in places)
    residue = sum((value - (start + slope * place)) ** 2 for place, value in zip(places, half, strict=True))
    error = math.sqrt(residue / (len(half) - 2) / spread)
    length = len(half) - 1
    return Trend(statistics.fmean(half), slope * length, error * length)
