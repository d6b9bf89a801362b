"""When the soak says that something is flat."""

from __future__ import annotations

import random

import pytest

from tools.soak.trend import trend


def test_what_grows_at_first_and_then_stays_is_flat() -> None:
    assert trend([min(place, 20) + 100.0 for place in range(60)]).flat(0.01)


def test_what_grows_all_the_time_is_not_flat() -> None:
    line = trend([100.0 + place for place in range(60)])
    assert not line.flat(0.10)
    assert line.rise == pytest.approx(29.0)


def test_a_leak_is_seen_through_noise() -> None:
    chance = random.Random(1)
    assert not trend([100.0 + place + chance.gauss(0, 5) for place in range(120)]).flat(0.10)


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_flat(seed: int) -> None:
    chance = random.Random(seed)
    assert trend([100.0 + chance.gauss(0, 10) for _ in range(120)]).flat(0.10)


def test_what_falls_is_flat_enough() -> None:
    assert trend([100.0 - place for place in range(60)]).flat(0.01)


def test_a_few_values_have_no_trend() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        trend([1.0, 2.0, 3.0])
