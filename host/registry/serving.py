"""What serves right now, as plain dictionaries: the gateway and the actors look here for every request.

Invariants: a version is in here only when its deployment is durable and its compiled artifact is on disk; a function
has at most one version in here, and an actor type one owner. Callbacks hear of a change after it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from host.model.ids import host_label
from host.model.limits import Limits
from host.model.version import Version
from host.registry.records import FunctionRecord, VersionRecord
from host.telemetry.log import get

OnChange = Callable[[Version | None, Version | None], None]

_log = get("registry.serving")


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
    )


class Serving:
    def __init__(self) -> None:
        self._by_label: dict[str, Version] = {}
        self._by_type: dict[tuple[str, str], Version] = {}
        self._unavailable: dict[str, str] = {}
        self._callbacks: list[OnChange] = []

    def route(self, label: str) -> Version | None:
        return self._by_label.get(label)

    def owner(self, tenant: str, actor_type: str) -> Version | None:
        return self._by_type.get((tenant, actor_type))

    def why_unavailable(self, label: str) -> str | None:
        """Why a function that is deployed has no route at the moment, or None."""
        return self._unavailable.get(label)

    def on_change(self, callback: OnChange) -> None:
        self._callbacks.append(callback)

    def hold(self, label: str, reason: str) -> None:
        """This deployed function cannot serve for now. Meant for labels without a route."""
        self._unavailable[label] = reason

    def put(self, version: Version) -> None:
        """`version` serves from now on, in place of what its function had before."""
        label = host_label(version.function_name, version.function_id)
        old = self._by_label.get(label)
        if old is not None:
            self._forget_types(old)
        self._unavailable.pop(label, None)
        self._by_label[label] = version
        for actor_type in version.actor_types:
            self._by_type[version.tenant, actor_type] = version
        self._tell(old, version)

    def remove(self, label: str) -> None:
        self._unavailable.pop(label, None)
        old = self._by_label.pop(label, None)
        if old is not None:
            self._forget_types(old)
            self._tell(old, None)

    def _forget_types(self, version: Version) -> None:
        for actor_type in version.actor_types:
            del self._by_type[version.tenant, actor_type]

    def _tell(self, old: Version | None, new: Version | None) -> None:
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception as error:  # one listener's fault must not leave the others with what no longer serves
                _log.exception("on_change_failed", error)
