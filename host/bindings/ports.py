"""What the bindings need: the way to the actors, whether they are all in this process or not, and to the outside."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from host.actors.turn import Turn
from host.model.ids import ActorId
from host.model.message import HttpRequest, HttpResponse


class Directory(Protocol):
    """`actors.directory.Directory` for one shard, `cluster.directory.ClusterDirectory` for all of a host."""

    def deliver(self, actor: ActorId, turn: Turn) -> None:
        """Hand `turn` to `actor`; its `reply` gets the answer, possibly before this returns."""
        ...


class Refused(Exception):
    """The fetch may not be made, or failed; the text is for the guest."""


class Ask(NamedTuple):
    """A fetch. `allow` are the patterns of hosts that the manifest allows, `redirect` is follow, error or manual."""

    request: HttpRequest
    allow: tuple[str, ...]
    redirect: str
    seconds: float
    body_bytes_max: int


class Fetching(Protocol):
    """`bindings.fetching.Fetcher` in this process, `bindings.egress.RemoteFetcher` for one in another."""

    async def fetch(self, ask: Ask) -> HttpResponse:
        """Raises Refused. Cancelled, it closes its connection."""
        ...

    async def close(self) -> None: ...
