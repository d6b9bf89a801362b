"""What serves right now, as plain dictionaries: the gateway and the actors look here for every request.

The registry has one that is the truth; each worker has a replica, which follows the same changes in the same order
(`feed`). So a change is a value that says all there is to know of one host label from now on.

Invariants: a version is in here only when its deployment is durable and its compiled artifact is on disk; a function
has at most one version in here, and an actor type one owner. Callbacks hear of a change after it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from host.model.ids import host_label
from host.model.limits import Limits
from host.model.version import Version, mark_of
from host.registry.records import FunctionRecord, VersionRecord
from host.telemetry.log import get

OnChange = Callable[[Version | None, Version | None], None]

_log = get("registry.serving")


class Change(NamedTuple):
    """What a host label is from now on.

    `version` alone: it serves. `reason` alone: the function is deployed and cannot serve for now. Both: the version is
    refused, because of what the reason says. Neither: the function is deleted.
    """

    label: str
    version: Version | None = None
    reason: str = ""


def runnable(function: FunctionRecord, version: VersionRecord, artifact: Path, limits: Limits) -> Version:
    """The version as other rooms get it; `limits` are the operator's, which the manifest may have lowered."""
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
        limits=version.manifest.apply_limits(limits),
        mark=mark_of(function.id, version.number),
    )


def serves(version: Version) -> Change:
    """`version` serves from now on, in place of what its function had before."""
    return Change(host_label(version.function_name, version.function_id), version)


class Serving:
    def __init__(self) -> None:
        self._changes: dict[str, Change] = {}
        self._by_label: dict[str, Version] = {}
        self._by_type: dict[tuple[str, str], Version] = {}
        self._refused_types: dict[tuple[str, str], Change] = {}
        self._callbacks: list[OnChange] = []

    def route(self, label: str) -> Version | None:
        return self._by_label.get(label)

    def owner(self, tenant: str, actor_type: str) -> Version | None:
        return self._by_type.get((tenant, actor_type))

    def why_unavailable(self, label: str) -> str | None:
        """Why a function that is deployed has no route at the moment, or None."""
        change = self._changes.get(label)
        return change.reason or None if change is not None else None

    def why_no_owner(self, tenant: str, actor_type: str) -> str | None:
        """Why the function that owns an actor type is refused, or None."""
        change = self._refused_types.get((tenant, actor_type))
        return None if change is None else change.reason

    def on_change(self, callback: OnChange) -> None:
        """Call `callback(old, new)` whenever another version serves a label; None: no version does."""
        self._callbacks.append(callback)

    def change(self, label: str) -> Change | None:
        """What a host label is now; None for one that is no function's, or of one that was never deployed."""
        return self._changes.get(label)

    def changes(self) -> list[Change]:
        """What makes an empty replica the same as this."""
        return list(self._changes.values())

    def apply(self, change: Change) -> None:
        label, new, reason = change
        before = self._changes.pop(label, None)
        if before is not None and before.version is not None:
            self._forget_types(before.version)
        old = self._by_label.pop(label, None)
        if new is not None or reason:
            self._changes[label] = change
        if new is not None and reason:
            for actor_type in new.actor_types:
                self._refused_types[new.tenant, actor_type] = change
            new = None
        elif new is not None:
            self._by_label[label] = new
            for actor_type in new.actor_types:
                self._by_type[new.tenant, actor_type] = new
        if old is not None or new is not None:
            self._tell(old, new)

    def become(self, changes: Iterable[Change]) -> None:
        """Follow a whole snapshot: what it does not name is deleted, what is the same already stays untouched."""
        wanted = {change.label: change for change in changes}
        for label in [label for label in self._changes if label not in wanted]:
            self.apply(Change(label))
        for label, change in wanted.items():
            if not _same(self._changes.get(label), change):
                self.apply(change)

    def _forget_types(self, version: Version) -> None:
        for actor_type in version.actor_types:
            self._by_type.pop((version.tenant, actor_type), None)
            self._refused_types.pop((version.tenant, actor_type), None)

    def _tell(self, old: Version | None, new: Version | None) -> None:
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception as error:  # one listener's fault must not leave the others with what no longer serves
                _log.exception("on_change_failed", error)


def _same(one: Change | None, other: Change) -> bool:
    """Versions are compared by what they hold: a replica has objects of its own."""
    if one is None or one.reason != other.reason or (one.version is None) != (other.version is None):
        return False
    if one.version is None or other.version is None:
        return True
    return all(getattr(one.version, field.name) == getattr(other.version, field.name) for field in fields(Version))
