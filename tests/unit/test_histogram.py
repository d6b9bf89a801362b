"""Quantiles that are read from buckets are near the true ones, whatever the durations are, and sums are sums."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host.telemetry.batch import Counted
from host.telemetry.histogram import LAST, LOWEST_S, below, bucket_of, end_of, quantile

DURATIONS = st.floats(LOWEST_S * 1.001, 400.0)


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_in_the_bucket_of_the_true_one(durations: list[float], share: float) -> None:
    counted = Counted()
    for seconds in durations:
        counted.add("ok", seconds, 0.0, 0, 0)
    true = sorted(durations)[max(-(-int(share * 1000) * len(durations) // 1000) - 1, 0)]
    found = quantile(counted.buckets, share)
    assert found is not None
    assert true / 1.2 <= found <= true * 1.2


@given(st.floats(0.0, 10_000.0))
def test_a_duration_is_in_the_bucket_that_ends_after_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert bucket == LAST + 1 or seconds <= end_of(bucket) * (1 + 1e-9)
    assert bucket == 0 or seconds >= end_of(bucket - 1) * (1 - 1e-9)


def test_without_durations_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert below({}, 3) == 0


def test_counts_of_two_workers_add_up_as_if_it_were_one() -> None:
    together, parts = Counted(), [Counted(), Counted()]
    for number in range(100):
        one = ("ok" if number % 10 else "failed", 0.001 * 1.07**number, 0.5, number, 2)
        together.add(*one)
        parts[number % 2].add(*one)
    total = Counted()
    for part in parts:
        total.merge(Counted.from_json(part.to_json()))
    assert (total.outcomes, total.buckets, total.count) == (together.outcomes, together.buckets, 100)
    assert (total.bytes_in, total.bytes_out, round(total.cpu_s)) == (4950, 200, 50)
