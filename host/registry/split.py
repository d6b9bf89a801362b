"""Who gets which version while several of one function serve.

A request gets one by chance, an actor by a hash of its name: so an actor is on one version as long as the weights are
what they are, in any process and after any restart, and a share of the actors is on each version, not of the turns.

The hash is weighted rendezvous hashing: each version draws a number for each actor, scaled by its weight, and the
highest wins. What a version draws for an actor does not depend on the others; so when one gets more weight actors move
to it and between no others, and when one goes only its own actors move.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

from host.model.ids import ActorId
from host.model.version import Version

_BITS = 52
"""So many fit a float below 1 with one half added."""


class Part(NamedTuple):
    """A version that serves, and its weight among those of its function."""

    version: Version
    weight: int = 1


def by_chance(parts: Sequence[Part], chance: float) -> Version:
    """The version of one request; `chance` is from 0 to below 1, each as likely as any other."""
    left = chance * sum(part.weight for part in parts)
    for part in parts[:-1]:
        left -= part.weight
        if left < 0:
            return part.version
    return parts[-1].version


def of_actor(parts: Sequence[Part], actor: ActorId) -> Version:
    """The version that an actor is on."""
    return max(parts, key=lambda part: log(_drawn(part.version, actor)) / part.weight).version


def heaviest(parts: Sequence[Part]) -> Version:
    """The newest of them if there are several."""
    return max(parts, key=lambda part: (part.weight, part.version.number)).version


def _drawn(version: Version, actor: ActorId) -> float:
    """Between 0 and 1, both excluded. No part of the text but the last, the actor's name, can hold a space."""
    text = f"{version.function_id} {version.number} {actor.type} {actor.name}".encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest()) >> (64 - _BITS)
    return (number + 0.5) / (1 << _BITS)
