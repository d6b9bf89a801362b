"""What serves right now, as plain dictionaries: the gateway and the actors look here for every request.

The registry has one that is the truth; each worker has a replica, which follows the same changes in the same order
(`feed`). So a change is a value that says all there is to know of one host label from now on.

Invariants: a version is in here only when its deployment is durable and its compiled artifact is on disk; an actor type
belongs to one function; a version that serves before and after a change is the same object before and after it, so
nothing of it starts anew. Callbacks hear of a change after it was made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from host.model.ids import ActorId
from host.model.version import Version, mark_of
from host.registry.records import FunctionRecord, VersionRecord
from host.registry.split import Part, by_chance, heaviest, of_actor
from host.telemetry.log import get

Versions = tuple[Version, ...]
OnChange = Callable[[Versions, Versions], None]

_log = get("registry.serving")


class Change(NamedTuple):
    """What a host label is from now on.

    `parts` alone: they serve, each by its weight. `reason` alone: the function is deployed and cannot serve for now.
    Both: they are refused, because of what the reason says. Neither: the function is deleted. `domains` are the host
    names, besides that of the label, which lead there.
    """

    label: str
    parts: tuple[Part, ...] = ()
    reason: str = ""
    domains: tuple[str, ...] = ()

    @property
    def serving(self) -> Versions:
        """None of a function that is refused."""
        return () if self.reason else tuple(part.version for part in self.parts)


def runnable(function: FunctionRecord, version: VersionRecord, artifact: Path) -> Version:
    """The version as other rooms get it, but for what is its tenant's."""
    return Version(
        tenant=function.tenant,
        function_id=function.id,
        function_name=function.name,
        number=version.number,
        digest=version.digest,
        manifest=version.manifest,
        artifact=str(artifact),
        has_handler=version.has_handler,
        actor_types=version.actor_types,
        sdk=version.sdk,
        mark=mark_of(function.id, version.number),
    )


class Serving:
    """`chance()` is from 0 to below 1: it decides which version of several a request gets."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._changes: dict[str, Change] = {}
        self._by_label: dict[str, Version] = {}
        self._split: dict[str, tuple[Part, ...]] = {}
        self._by_domain: dict[str, str] = {}
        self._by_type: dict[tuple[str, str], tuple[Part, ...]] = {}
        self._refused_types: dict[tuple[str, str], Change] = {}
        self._callbacks: list[OnChange] = []

    def route(self, label: str) -> Version | None:
        """The version of one request."""
        found = self._by_label.get(label)
        if found is None and (parts := self._split.get(label)) is not None:
            return by_chance(parts, self._chance())
        return found

    def domain(self, name: str) -> str | None:
        """The label of the function that has a host name of its own, such as `shop.example.com`."""
        return self._by_domain.get(name)

    def version_of(self, actor: ActorId) -> Version | None:
        """The version that an actor is on: one of those that have its class."""
        parts = self._by_type.get((actor.tenant, actor.type))
        if parts is None:
            return None
        return parts[0].version if len(parts) == 1 else of_actor(parts, actor)

    def owner(self, tenant: str, actor_type: str) -> Version | None:
        """Of the versions that have an actor type's class the one with the most weight."""
        parts = self._by_type.get((tenant, actor_type))
        return None if parts is None else heaviest(parts)

    def why_unavailable(self, label: str) -> str | None:
        """Why a function that is deployed has no route at the moment, or None."""
        change = self._changes.get(label)
        return change.reason or None if change is not None else None

    def why_no_owner(self, tenant: str, actor_type: str) -> str | None:
        """Why the function that owns an actor type is refused, or None."""
        change = self._refused_types.get((tenant, actor_type))
        return None if change is None else change.reason

    def on_change(self, callback: OnChange) -> None:
        """Call `callback(old, new)` whenever other versions serve a label."""
        self._callbacks.append(callback)

    def change(self, label: str) -> Change | None:
        """What a host label is now; None for one that is no function's, or of one that was never deployed."""
        return self._changes.get(label)

    def changes(self) -> list[Change]:
        """What makes an empty replica the same as this."""
        return list(self._changes.values())

    def apply(self, change: Change) -> None:
        label = change.label
        before = self._changes.pop(label, Change(label))
        change = _keeping(before.parts, change)
        self._forget_types(before)
        for name in before.domains:
            if self._by_domain.get(name) == label:
                del self._by_domain[name]
        self._by_domain.update(dict.fromkeys(change.domains, label))
        self._by_label.pop(label, None)
        self._split.pop(label, None)
        if change.parts or change.reason:
            self._changes[label] = change
        if len(change.serving) == 1:
            self._by_label[label] = change.serving[0]
        elif change.serving:
            self._split[label] = change.parts
        self._remember_types(change)
        if before.serving != change.serving:
            self._tell(before.serving, change.serving)

    def become(self, changes: Iterable[Change]) -> None:
        """Follow a whole snapshot: what it does not name is deleted, what is the same already stays untouched."""
        wanted = {change.label: change for change in changes}
        for label in [label for label in self._changes if label not in wanted]:
            self.apply(Change(label))
        for change in wanted.values():
            self.apply(change)

    def _remember_types(self, change: Change) -> None:
        for part in change.parts:
            for actor_type in part.version.actor_types:
                key = (part.version.tenant, actor_type)
                if change.reason:
                    self._refused_types[key] = change
                else:
                    self._by_type[key] = (*self._by_type.get(key, ()), part)

    def _forget_types(self, change: Change) -> None:
        for part in change.parts:
            for actor_type in part.version.actor_types:
                self._by_type.pop((part.version.tenant, actor_type), None)
                self._refused_types.pop((part.version.tenant, actor_type), None)

    def _tell(self, old: Versions, new: Versions) -> None:
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception as error:  # one listener's fault must not leave the others with what no longer serves
                _log.exception("on_change_failed", error)


def _keeping(before: Iterable[Part], change: Change) -> Change:
    """The change with the objects that are there already: a replica is told of versions as objects of its own."""
    known = {part.version.number: part.version for part in before}
    parts = (
        part._replace(version=one) if (one := known.get(part.version.number)) and _same(one, part.version) else part
        for part in change.parts
    )
    return change._replace(parts=tuple(parts))


def _same(one: Version, other: Version) -> bool:
    return all(getattr(one, field.name) == getattr(other, field.name) for field in fields(Version))
