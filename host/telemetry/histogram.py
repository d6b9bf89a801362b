"""Durations in fixed buckets: four to each doubling, from 61 microseconds to over eight minutes.

The same buckets everywhere, so that counts of different workers and minutes simply add up. A bucket is 19 % wide, and
so a quantile read from them is within a fifth of the true one.

Shape: a count for each bucket number, those that are 0 left out. Bucket `n` ends at `LOWEST_S * 2 ** (n / 4)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2

LOWEST_S = 2.0**-14
PER_DOUBLING = 4
LAST = 23 * PER_DOUBLING
"""The last bucket with an end; what takes longer is in the one after it."""

Buckets = Mapping[int, int]


def bucket_of(seconds: float) -> int:
    if seconds <= LOWEST_S:
        return 0
    return min(ceil(log2(seconds / LOWEST_S) * PER_DOUBLING), LAST + 1)


def end_of(bucket: int) -> float:
    """Seconds; no duration in the bucket is longer, but for the last one."""
    return float(LOWEST_S * 2 ** (min(bucket, LAST + 1) / PER_DOUBLING))


def add(total: dict[int, int], buckets: Buckets) -> None:
    for bucket, count in buckets.items():
        total[bucket] = total.get(bucket, 0) + count


def quantile(buckets: Buckets, share: float) -> float | None:
    """The duration in seconds that `share` (0 to 1) of all stay below; None when there are none."""
    count = sum(buckets.values())
    if not count:
        return None
    rank, seen = share * count, 0
    for bucket in sorted(buckets):
        inside = buckets[bucket]
        if seen + inside >= rank:
            start = 0.0 if bucket == 0 else end_of(bucket - 1)
            return start + (end_of(bucket) - start) * max(rank - seen, 0.0) / inside
        seen += inside
    return end_of(max(buckets))


def below(buckets: Buckets, bucket: int) -> int:
    """How many are in `bucket` or in one before it."""
    return sum(count for one, count in buckets.items() if one <= bucket)
