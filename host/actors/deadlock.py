"""Calls that wait for each other: found the moment the last of them begins to wait, not 30 seconds later.

A chain of calls that comes back to itself is seen in its own context (`Directory.deliver`). This is the other kind:
two or more turns, begun by different requests, of which each holds its actor and waits for another's. A turn is stuck
when its guest has nothing left to run and everything it waits for is a call of an actor whose own turn is stuck. A
guest that also waits for a timer, a fetch or a free actor will go on, so nobody is accused who would have finished.

A call whose turn has ended, and whose answer waits at the gate, is on its way: who waits for it is not stuck.

This is about the actors of one process. Rings over several are found by `host.cluster.rings`, with the same notions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from host.actors.turn import Turn
from host.model.ids import ActorId
from host.sandbox.call import Call

if TYPE_CHECKING:
    from host.actors.actor import Actor

Waits = Callable[[ActorId], Sequence["Awaited"] | None]
"""What the running turn of an actor waits for; None when it runs nothing, or not only for actors."""


class Awaited(NamedTuple):
    """An operation of a turn that is a call of `actor`: `turn` there."""

    actor: ActorId
    turn: Turn

    def cancel(self) -> None:
        """A call that was sent is not taken back when its caller ends."""


class Rings:
    """Among the actors that `find` gives: those in memory."""

    def __init__(self, find: Callable[[ActorId], Actor | None]) -> None:
        self.find = find

    def waiting(self, call: Call) -> None:
        """A turn has begun to wait. If that closes a ring of turns that wait for each other, one call of it fails."""
        self.broke_ring(call)

    def broke_ring(self, call: Call) -> bool:
        """Likewise; true when one failed."""
        actor: ActorId = call.context.chain[-1]
        stuck = stuck_with(actor, self.awaited)
        if not stuck or not all(self._held(target) for awaited in stuck.values() for target in awaited):
            return False
        for operation, awaited in list((call.waits() or {}).items()):
            if isinstance(awaited, Awaited) and self.withdraw(awaited):
                call.reject(operation, "ActorDeadlockError", ring_text(cycle(actor, stuck)))
                return True
        return False

    def awaited(self, actor: ActorId) -> list[Awaited] | None:
        """What the running turn of `actor` waits for; None when it runs none, or not only for actors."""
        found = self.find(actor)
        pending = found.call.waits() if found is not None and found.call is not None else None
        if pending is None:
            return None
        awaited = [each for each in pending.values() if isinstance(each, Awaited)]
        return awaited if len(awaited) == len(pending) else None

    def withdraw(self, awaited: Awaited) -> bool:
        """Take a turn that has not begun out of its mailbox. False when there is none."""
        found = self.find(awaited.actor)
        return found is not None and found.withdraw(awaited.turn)

    def _held(self, awaited: Awaited) -> bool:
        found = self.find(awaited.actor)
        return found is not None and found.holds(awaited.turn)


def ring_text(path: Sequence[ActorId]) -> str:
    return f"these actors wait for each other: {path_text(path)}"


def path_text(path: Sequence[ActorId]) -> str:
    return " -> ".join(f"{actor.type}/{actor.name}" for actor in path)


def stuck_with(actor: ActorId, waits: Waits) -> dict[ActorId, Sequence[Awaited]]:
    """The actors that `actor` waits for, itself included, which can only go on if it does. Empty: it is not stuck."""
    found: dict[ActorId, Sequence[Awaited]] = {}
    unseen = [actor]
    while unseen:
        one = unseen.pop()
        if one not in found and (awaited := waits(one)) is not None:
            found[one] = awaited
            unseen += (target.actor for target in awaited)
    shrinking = True
    while shrinking:
        free = [one for one, awaited in found.items() if any(target.actor not in found for target in awaited)]
        for one in free:
            del found[one]
        shrinking = bool(free)
    return found if actor in found else {}


def cycle(actor: ActorId, stuck: dict[ActorId, Sequence[Awaited]]) -> tuple[ActorId, ...]:
    """A way from `actor` through what is stuck, up to the first actor that comes twice."""
    path = [actor]
    while path.count(path[-1]) < 2:
        path.append(stuck[path[-1]][-1].actor)
    return tuple(path)
