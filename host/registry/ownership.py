"""Which function of a tenant owns an actor type, decided when a version is deployed.

The function whose serving version exports the class owns the type; others that name it in [[actors]] reach the same
actors. So ownership follows from the records alone: it holds even while the owner's code is not ready to serve.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from host.model.errors import Conflict, QuotaReached
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


def types_of(classes: Iterable[str]) -> tuple[str, ...]:
    """Those of the exported classes that can be actor types."""
    return tuple(name for name in classes if is_type_name(name))


def review(
    function: FunctionRecord,
    wanted: Sequence[tuple[Manifest, Sequence[str]]],
    before: Collection[str],
    others: Deployed,
    actor_types_max: int,
) -> list[str]:
    """Check a deployment of versions, each given as its manifest and its exported classes, against what is deployed of
    the tenant's `others`; `before` are the types that the function has now. Returns what is probably not meant.

    Raises Conflict (a type has another owner), QuotaReached (too many types).
    """
    types = list(dict.fromkeys(name for _, classes in wanted for name in types_of(classes)))
    owned = owners(others)
    if taken := conflicts(types, owned):
        raise Conflict(taken[0], details=taken)
    if len(owned) + len(types) > actor_types_max:
        raise QuotaReached(
            f"With this deployment you would have {len(owned) + len(types)} actor types, and your quota is "
            f"{actor_types_max}. Delete a function or merge classes."
        )
    gone = set(before) - set(types)
    used = users(others, gone)
    known = {**owned, **dict.fromkeys(types, function)}
    found = [line for manifest, classes in wanted for line in warnings(manifest, classes, gone, known, used)]
    return list(dict.fromkeys(found))


def owners(deployed: Deployed) -> Owners:
    return {actor_type: function for function, version in deployed for actor_type in version.actor_types}


def users(deployed: Deployed, actor_types: Collection[str]) -> Users:
    """Who of them binds each of these types."""
    found: Users = {}
    for function, version in deployed:
        for actor_type in {actor.type for actor in version.manifest.actors}.intersection(actor_types):
            names = found.setdefault(actor_type, [])
            if function.name not in names:  # a split has several versions of one function
                names.append(function.name)
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
    manifest: Manifest, exported: Sequence[str], gone: Iterable[str], owners: Owners, users: Users
) -> list[str]:
    """What ships but is probably not meant. `gone` are types that the function had and has no more, `users` says who
    else binds them.
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
    for name in sorted(gone):
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
