"""Every kind of message between the processes of a host, in one place so that no two rooms choose the same number."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Kind(IntEnum):
    """The second field of a frame. 0 to 15 are the link's own. What a payload holds is said where it is made."""

    CALL = 16  # request: a turn for an actor of the receiver -> its answer (cluster.wire)
    PROBE = 17  # post: who waits for whom, in search of a ring (cluster.deadlock)
