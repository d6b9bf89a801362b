"""Which version of a function served when, and what it means to put an older one back.

A deployment is a fact with a time; a function keeps its last `HISTORY_MAX`. A rollback is nothing special: it is a
deployment of a version that is there already, and goes through the same checks as the first one, because the tenant's
other functions may have changed since.

Here is what can be said from the records alone; `registry` writes them, `publish` sees to the compiled artifact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from host.model.errors import Conflict
from host.registry.records import Deployment, FunctionRecord, VersionRecord

HISTORY_MAX = 100


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a deployment. `warnings` are about it and not about the version alone: what else of the tenant is
    deployed may have changed since the version was shipped.
    """

    version: VersionRecord
    deployment: Deployment
    warnings: tuple[str, ...] = ()


def history(function: FunctionRecord) -> tuple[Deployment, ...]:
    """The oldest first. A function that was deployed before histories were kept has its present deployment at least."""
    if not function.history and function.serving is not None:
        return (Deployment(function.serving, function.deployed_ms or function.created_ms),)
    return function.history


def deployed(function: FunctionRecord, number: int, now_ms: float, by: str) -> FunctionRecord:
    """The function with version `number` serving since `now_ms`. `by` is the label of the key that asked for it."""
    past = (*history(function), Deployment(number, now_ms, by))
    return replace(
        function,
        status="deploy_ok",
        serving=number,
        deployed_ms=now_ms,
        errors=(),
        history=past[-HISTORY_MAX:],
        quarantined=None,
    )


def in_quarantine(function: FunctionRecord) -> str:
    """Why what serves is refused, or ""."""
    if function.quarantined is None or function.quarantined != function.serving:
        return ""
    return (
        f"Version {function.serving} is in quarantine: while it ran, the host crashed again and again. "
        f"Deploy another version, or let it serve again with `tenure release {function.name}`."
    )


def beyond_kept(function: FunctionRecord, versions: Sequence[VersionRecord], kept: int) -> list[VersionRecord]:
    """The oldest versions that go when one is added: never what serves, never what is being compiled."""
    unused = [one for one in versions if one.number != function.serving and one.status != "compiling"]
    return unused[: max(len(versions) + 1 - kept, 0)]


def check_deployable(version: VersionRecord) -> None:
    """Raises Conflict for a version that is not, or never will be, ready."""
    if version.status == "deploy_failed":
        raise Conflict(f"Version {version.number} failed and cannot be deployed. Ship a corrected one.")
    if version.status == "compiling":
        raise Conflict(f"Version {version.number} is still being compiled; it is deployed when that is done.")


def unknown(number: int, kept: Collection[int]) -> str:
    """Why there is no such version, and which there are."""
    if not kept:
        return f"This function has no version {number}: nothing was shipped to it yet."
    there = f"version {min(kept)} only" if len(kept) == 1 else f"versions {min(kept)} to {max(kept)}"
    return f"This function has no version {number}. It has {there}; `tenure revisions list` shows them."
