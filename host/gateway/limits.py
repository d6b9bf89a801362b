"""What the data plane grants a connection before any function has a say. Sizes in bytes, times in seconds.

The limit on bodies is not here: it belongs to the function (`host.model.limits.Limits.body_bytes_max`).
"""

from __future__ import annotations

from dataclasses import dataclass

from host.model.limits import KiB, MiB


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds of one listener.

    `drain_*`: after an early refusal (413) the rest of the upload is read and thrown away within these bounds, because
    closing a socket with unread bytes resets it, and the client would lose the reply.
    """

    head_bytes_max: int = 64 * KiB
    reply_head_bytes_max: int = 64 * KiB
    head_wall_s: float = 30.0
    body_wall_s: float = 60.0
    keep_alive_s: float = 75.0
    drain_bytes_max: int = 64 * MiB
    drain_idle_s: float = 1.0
    drain_wall_s: float = 30.0
    backlog: int = 2048


EDGE_LIMITS = EdgeLimits()
