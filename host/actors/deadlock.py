"""Calls that wait for each other: found the moment the last of them begins to wait, not 30 seconds later.

A chain of calls that comes back to itself is seen in its own context (`Directory.deliver`). This is the other kind:
two or more turns, begun by different requests, of which each holds its actor and waits for another's. A turn is stuck
when its guest has nothing left to run and everything it waits for is a call of an actor whose own turn is stuck. A
guest that also waits for a timer, a fetch or a free actor will go on, so nobody is accused who would have finished.

Pure look-ups; what to do about it is the directory's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from host.actors.turn import Turn
from host.model.ids import ActorId

Waits = Callable[[ActorId], Sequence["Awaited"] | None]
"""What the running turn of an actor waits for; None when it runs nothing, or not only for actors."""


class Awaited(NamedTuple):
    """An operation of a turn that is a call of `actor`: `turn` there."""

    actor: ActorId
    turn: Turn

    def cancel(self) -> None:
        """A call that was sent is not taken back when its caller ends."""


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
