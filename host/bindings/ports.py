"""What the bindings need: the way to the actors, whether they are all in this process or not."""

from __future__ import annotations

from typing import Protocol

from host.actors.turn import Turn
from host.model.ids import ActorId


class Directory(Protocol):
    """`actors.directory.Directory` for one shard, `cluster.directory.ClusterDirectory` for all of a host."""

    def deliver(self, actor: ActorId, turn: Turn) -> None:
        """Hand `turn` to `actor`; its `reply` gets the answer, possibly before this returns."""
        ...
