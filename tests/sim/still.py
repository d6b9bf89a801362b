"""The rooms without anything that depends on how fast this machine is: the same choices give the same run.

Rounds have no end but their last ready guest, no guest is cut into slices or moved to the background thread. So
nothing here may run a guest that spins.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from host.sandbox import capi, scheduler
from host.telemetry import log


def still_rooms() -> Iterator[None]:
    """For a fixture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "ROUND_S", float("inf"))
        patch.setattr(scheduler, "BURN_AFTER_S", float("inf"))
        patch.setattr(capi, "engine_increment_epoch", lambda _engine: None)
        patch.setattr(log.Log, "_write", lambda *_: None)  # disks fail here by the hundred
        yield
