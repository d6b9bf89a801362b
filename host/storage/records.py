"""The small record that is kept about each actor, beside its state: what eviction, quotas and listings need of it.

Shape: u8 layout (1), u64 bytes used, u64 created ms, u64 alarm due ms + 1 (0: no alarm). Numbers are big-endian.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

_LAYOUT = 1
_SHAPE = Struct(">BQQQ")


class ActorRecord(NamedTuple):
    """`bytes_used`: sum of the actor's user keys and values; `created_ms`, `alarm_ms`: milliseconds since 1970."""

    bytes_used: int = 0
    created_ms: int = 0
    alarm_ms: int | None = None

    def encode(self) -> bytes:
        """Raises ValueError for a number that is negative or beyond u64."""
        try:
            alarm = 0 if self.alarm_ms is None else self.alarm_ms + 1
            return _SHAPE.pack(_LAYOUT, self.bytes_used, self.created_ms, alarm)
        except Exception as error:
            raise ValueError(f"an actor's record cannot hold {self}") from error


def decode_actor_record(data: bytes) -> ActorRecord:
    """Raises ValueError for what `ActorRecord.encode` did not write."""
    if len(data) != _SHAPE.size or data[0] != _LAYOUT:
        raise ValueError(f"not an actor's record: {len(data)} bytes beginning with {data[:1].hex() or 'nothing'}")
    _, bytes_used, created_ms, alarm = _SHAPE.unpack(data)
    return ActorRecord(bytes_used, created_ms, alarm - 1 if alarm else None)
