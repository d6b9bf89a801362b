"""What a power cut does to a log: whatever was not synced may be gone, or be something else.

Everything up to the last sync that returned stays as it is; a cut may not take that. The log is the newest write-ahead
log of each engine, because older ones were synced before it or hold nothing that is not in tables.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.crash.faults import Faults

AT_THE_SYNC_SHARE = 0.5
"""In this share of tears nothing that was not synced survives: the worst that can be."""

HOWS = ("cut off", "zeroed", "garbled")


@dataclass(frozen=True)
class Tear:
    """`bytes_lost` of `log` were not synced and are gone or wrong."""

    log: Path
    how: str
    bytes_lost: int


def newest_logs(data: Path) -> Iterator[Path]:
    """The newest write-ahead log of each engine in a host's data folder."""
    newest: dict[Path, Path] = {}
    for log in data.rglob("*.log"):
        if log.stem.isdigit() and (log.parent not in newest or int(log.stem) > int(newest[log.parent].stem)):
            newest[log.parent] = log
    yield from sorted(newest.values())


def tear(data: Path, faults: Faults, chance: random.Random) -> list[Tear]:
    """Cut the power: no process of the host may be alive. The logs that were torn, without those that could not be."""
    return [torn for log in newest_logs(data) if (torn := tear_log(log, faults.synced_bytes(log), chance))]


def tear_log(log: Path, synced: int, chance: random.Random) -> Tear | None:
    """Tear what comes after the first `synced` bytes, in whole or in part. None when nothing does."""
    size = log.stat().st_size
    if size <= synced:
        return None
    kept = synced if chance.random() < AT_THE_SYNC_SHARE else chance.randrange(synced, size)
    how = chance.choice(HOWS)
    with log.open("r+b") as file:
        if how == "cut off":
            file.truncate(kept)
        else:
            file.seek(kept)
            file.write(bytes(size - kept) if how == "zeroed" else chance.randbytes(size - kept))
        os.fsync(file.fileno())
    return Tear(log, how, size - kept)
