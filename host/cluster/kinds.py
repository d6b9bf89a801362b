"""Every kind of message between the processes of a host, in one place so that no two rooms choose the same number."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Kind(IntEnum):
    """The second field of a frame. 0 to 15 are the link's own. What a payload holds is said where it is made."""

    CALL = 16  # request: a turn for an actor of the receiver -> its answer (cluster.wire)
    PROBE = 17  # request: what do these calls wait for? (cluster.rings)
    WITHDRAW = 18  # request: refuse a call that closes a ring (cluster.rings)

    # between the control process and a worker (supervisor.asking: JSON both ways, but for what `registry.feed` writes)
    SERVE = 32  # request: changes of what serves, in order -> empty, once they are followed
    SNAPSHOT = 33  # request: all that serves, in place of what was known -> empty
    STATUS = 34  # request: nothing -> counts
    ALARMS = 35  # request: which, and which page -> alarms
    ALARMS_RETRY = 36  # request: one actor, or all of a type -> how many were put back
    NOTED = 37  # post, to control: what guests logged and how invocations went (telemetry.batch)
    ERASE = 38  # request: a tenant that is deleted -> nothing, once nothing of its actors is left
    BEGIN = 40  # request: where the other workers are -> empty, once it serves its shards and takes requests
    PEERS = 41  # request: where the other workers are now -> empty
    HOLD = 42  # request: slot that is being replaced, seconds of grace -> empty, once it has answered all it was sent
    QUIET = 43  # request: seconds of grace -> empty, once it takes no requests and has answered those it had
    LEAVE = 44  # request: seconds of grace -> empty, once its turns have ended and its shards are closed; it ends then
    WHO = 45  # request: nothing -> what it was started with, and whether it serves
    HAND_OVER = 46  # request: nothing -> empty, once the listening sockets were given at the door
    COVER = 47  # request: slots -> empty; from now on it takes requests for these besides its own
    COUNTS = 39  # request: nothing -> what a worker counts, for metrics
    ACTORS = 50  # request: a shard, and something of its tenants' actors -> what came of it (supervisor.actors)
    COPY_SHARDS = 51  # request: a step of copying all shards -> whether it had paused, of "resume" (backup.snapshot)
    USED = 52  # request: a tenant -> what it has in memory and in storage (supervisor.usage)
    RELOAD = 49  # request, to control: nothing -> how many workers were replaced
    REPLACE_ME = 48  # post, to control: it was told to end, and asks for a successor

    # between a worker and the egress process (bindings.egress)
    FETCH = 64  # request: a fetch to the outside -> its response, or why there is none
    FETCH_CANCEL = 65  # post: the number of a fetch that nobody waits for any more
