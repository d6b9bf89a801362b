"""What the actors room needs from above. `registry` and `bindings` give it these, wired by `server`."""

from __future__ import annotations

from collections.abc import Callable

from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.message import HttpResponse
from host.model.version import Version
from host.sandbox.ports import World

VersionOf = Callable[[ActorId], Version | None]
"""The serving version that an actor is on: of the function whose bundle exports its class."""

Refused = Callable[[str, str], str | None]
"""(tenant, actor type) -> why the function that exports the class does not serve for now, or None."""

WorldOf = Callable[[Version, ActorId], World]
"""What an activation of this actor on this version may reach."""

Answer = bytes | HttpResponse | ActorError
"""How a turn ended for its caller: a wire value, a response, or an error."""

Reply = Callable[[Answer], None]
"""Takes the answer, once, when it may leave."""

STOPPING = "the host is stopping: try again when it is back"


def no_owner(actor_type: str) -> str:
    return f"no function of this tenant exports an actor class {actor_type}"


def nothing_refused(_tenant: str, _actor_type: str) -> str | None:
    return None
