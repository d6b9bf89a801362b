"""Waiting for something to become true, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.01


async def wait_until(probe: Callable[[], T | Awaitable[T]], what: str, deadline_s: float = 10.0) -> T:
    """The first true value of `probe()`. Raises AssertionError, saying `what` did not come, after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while True:
        outcome = probe()
        value: T = await outcome if isinstance(outcome, Awaitable) else outcome
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {deadline_s:g} s; last seen: {value!r}")
        await asyncio.sleep(_PAUSE_S)
