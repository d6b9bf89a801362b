"""Every kind of message between the processes of a host, in one place so that no two rooms choose the same number."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Kind(IntEnum):
    """The second field of a frame. 0 to 15 are the link's own. What a payload holds is said where it is made."""

    CALL = 16  # request: a turn for an actor of the receiver -> its answer (cluster.wire)
    PROBE = 17  # post: who waits for whom, in search of a ring (cluster.deadlock)

    # between the control process and a worker (supervisor.asking: JSON both ways, but for what `registry.feed` writes)
    SERVE = 32  # request: changes of what serves, in order -> empty, once they are followed
    SNAPSHOT = 33  # request: all that serves, in place of what was known -> empty
    STATUS = 34  # request: nothing -> counts
    ALARMS = 35  # request: which, and which page -> alarms
    ALARMS_RETRY = 36  # request: one actor, or all of a type -> how many were put back
    LINES = 37  # post, to control: lines that functions logged
    ERASE = 38  # request: a tenant that is deleted -> nothing, once nothing of its actors is left
