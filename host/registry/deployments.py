"""Which version of a function served when, and what it means to put an older one back.

A deployment is a fact with a time; a function keeps its last `HISTORY_MAX`. A rollback is nothing special: it is a
deployment of a version that is there already, and goes through the same checks as the first one, because the tenant's
other functions may have changed since. A split is a deployment, too: of several versions at once, each with a weight.

Here is what can be said from the records alone; `registry` writes them, `publish` sees to the compiled artifact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from host.model.errors import Conflict, UsageError
from host.registry.ports import CompiledComponent
from host.registry.records import Deployment, FunctionRecord, Share, VersionRecord

HISTORY_MAX = 100
SPLIT_MAX = 8
"""Versions of one function that serve at once."""
WEIGHT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a deployment. `warnings` are about it and not about the version alone: what else of the tenant is
    deployed may have changed since the versions were shipped.
    """

    deployment: Deployment
    warnings: tuple[str, ...] = ()


def history(function: FunctionRecord) -> tuple[Deployment, ...]:
    """The oldest first. A function that was deployed before histories were kept has its present deployment at least."""
    if not function.history and function.serving is not None:
        return (Deployment(function.serving, function.deployed_ms or function.created_ms),)
    return function.history


def shares(of: FunctionRecord | Deployment) -> tuple[Share, ...]:
    """What serves, or served, in order of the version; nothing of a function that was never deployed."""
    number = of.version if isinstance(of, Deployment) else of.serving
    return of.split or (() if number is None else (Share(number),))


def share_of(function: FunctionRecord, number: int) -> float:
    """How much of what comes to the function is version `number`'s, 0 to 1."""
    weights = {share.version: share.weight for share in shares(function)}
    return weights.get(number, 0) / sum(weights.values()) if weights else 0.0


def in_order(wanted: Sequence[Share]) -> tuple[Share, ...]:
    """As they are deployed. Raises UsageError for what cannot be a deployment."""
    if not 1 <= len(wanted) <= SPLIT_MAX:
        raise UsageError(f"A split is of 1 to {SPLIT_MAX} versions, each with its weight.")
    if len({share.version for share in wanted}) < len(wanted):
        raise UsageError("The split names a version twice. Give each one weight.")
    if not all(1 <= share.weight <= WEIGHT_MAX for share in wanted):
        raise UsageError(f"A weight is a whole number from 1 to {WEIGHT_MAX}. Leave out what is to get nothing.")
    if len(wanted) == 1:
        return (Share(wanted[0].version),)
    return tuple(sorted(wanted, key=lambda share: share.version))


def deployed(function: FunctionRecord, wanted: tuple[Share, ...], now_ms: float, by: str) -> FunctionRecord:
    """The function with these serving since `now_ms`. `by` is the label of the key that asked for it."""
    main = max(wanted, key=lambda share: (share.weight, share.version)).version
    split = wanted if len(wanted) > 1 else ()
    past = (*history(function), Deployment(main, now_ms, by, split))
    return replace(
        function,
        status="deploy_ok",
        serving=main,
        deployed_ms=now_ms,
        errors=(),
        history=past[-HISTORY_MAX:],
        quarantined=None,
        split=split,
    )


def without(function: FunctionRecord, number: int, now_ms: float) -> FunctionRecord:
    """The function with its split going on without version `number`, of which workers die."""
    rest = tuple(share for share in shares(function) if share.version != number)
    return deployed(function, in_order(rest), now_ms, f"the host: version {number} crashed it")


def compiled_as(version: VersionRecord, compiled: CompiledComponent, exported: Sequence[str]) -> VersionRecord:
    """The version once it may be deployed. `exported` are those of its classes that can be actor types."""
    return replace(
        version,
        status="deploy_ok",
        actor_types=tuple(exported),
        has_handler=compiled.handler,
        sdk=compiled.sdk,
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
    serving = {share.version for share in shares(function)}
    unused = [one for one in versions if one.number not in serving and one.status != "compiling"]
    return unused[: max(len(versions) + 1 - kept, 0)]


def check_deployable(version: VersionRecord) -> None:
    """Raises Conflict for a version that is not, or never will be, ready."""
    check_not_failed(version)
    if version.status == "compiling":
        raise Conflict(f"Version {version.number} is still being compiled; it is deployed when that is done.")


def check_not_failed(version: VersionRecord) -> None:
    if version.status == "deploy_failed":
        raise Conflict(f"Version {version.number} failed and cannot be deployed. Ship a corrected one.")


def unknown(number: int, kept: Collection[int]) -> str:
    """Why there is no such version, and which there are."""
    if not kept:
        return f"This function has no version {number}: nothing was shipped to it yet."
    there = f"version {min(kept)} only" if len(kept) == 1 else f"versions {min(kept)} to {max(kept)}"
    return f"This function has no version {number}. It has {there}; `tenure revisions list` shows them."
