"""Which function of a tenant owns an actor type, decided when a version is deployed.

The function whose serving version exports the class owns the type; others that name it in [[actors]] reach the same
actors. So ownership follows from the records alone: it holds even while the owner's code is not ready to serve.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from host.model.manifest import ACTOR_TYPE_CHARS_MAX, Manifest
from host.model.manifest_tables import IDENTIFIER
from host.registry.records import FunctionRecord, VersionRecord

_NAMED_MAX = 5

Deployed = list[tuple[FunctionRecord, VersionRecord]]
"""Functions that serve, each with the version that does."""

Owners = dict[str, FunctionRecord]
"""Actor type -> the function that owns it, for one tenant."""

Users = dict[str, list[str]]
"""Actor type -> names of the functions that bind it and do not own it."""


def is_type_name(name: str) -> bool:
    return bool(IDENTIFIER.fullmatch(name)) and "__" not in name and len(name) <= ACTOR_TYPE_CHARS_MAX


def owners(deployed: Deployed) -> Owners:
    return {actor_type: function for function, version in deployed for actor_type in version.actor_types}


def users(deployed: Deployed, actor_types: Collection[str]) -> Users:
    """Who of them binds each of these types."""
    found: Users = {}
    for function, version in deployed:
        for actor_type in {actor.type for actor in version.manifest.actors}.intersection(actor_types):
            found.setdefault(actor_type, []).append(function.name)
    return found


def conflicts(exported: Iterable[str], owners: Owners) -> list[str]:
    """A sentence for each exported class that another function owns."""
    return [
        f"The actor type {name!r} belongs to the function {owners[name].name!r}. To share its actors keep the "
        "[[actors]] entry and stop exporting the class; to have actors of your own rename the class."
        for name in exported
        if name in owners
    ]


def warnings(
    manifest: Manifest, exported: Sequence[str], before: Iterable[str], owners: Owners, users: Users
) -> list[str]:
    """What ships but is probably not meant. `before` are the types of the version that served until now, `users` says
    who else binds those of them that go.
    """
    bound = {actor.type for actor in manifest.actors}
    found = []
    for name in sorted(bound - set(exported) - set(owners)):
        found.append(
            f"No function has the actor type {name!r} yet: calls to it fail with ActorTypeNotFoundError until one is "
            f"shipped that exports the class {name!r}."
        )
    for name in exported:
        if not is_type_name(name):
            found.append(
                f"The exported class {name!r} cannot be an actor type and is left out; rename it to at most "
                f"{ACTOR_TYPE_CHARS_MAX} letters, digits and single underscores."
            )
        elif name not in bound:
            found.append(f"The actor class {name!r} is exported, but no [[actors]] entry of this manifest names it.")
    for name in sorted(set(before) - set(exported)):
        found.append(
            f"The actor class {name!r} was in the version before and is not in this one: its actors are kept, but "
            f"cannot be reached until a version exports the class again.{_also_used(users.get(name, []))}"
        )
    return found


def _also_used(functions: Sequence[str]) -> str:
    """Who notices that a type goes."""
    if not functions:
        return ""
    names = ", ".join(repr(name) for name in functions[:_NAMED_MAX])
    more = f" and {len(functions) - _NAMED_MAX} more" if len(functions) > _NAMED_MAX else ""
    one = len(functions) == 1
    return (
        f" The function{'' if one else 's'} {names}{more} {'uses' if one else 'use'} it: "
        "calls to it fail with ActorTypeNotFoundError until then."
    )
