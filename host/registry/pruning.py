"""Which versions of a function may go.

What stays, whatever is asked: what serves, what is being compiled, what served just before (a rollback goes back to
it), and what served until a moment ago (requests may still run on it). Beyond that a rule keeps the newest versions and
those that served lately. Where nobody looks at what goes, what was shipped a moment ago stays as well: somebody may be
about to deploy it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from host.model.keep import Keep
from host.registry.deployments import HISTORY_MAX, history, shares
from host.registry.records import FunctionRecord, VersionRecord

SETTLED_MS = 600_000.0
"""So long after its end a deployment may still have requests and turns: more than any of them may last."""
DAY_MS = 86_400_000.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """`gone` are the versions that go, `kept` says why each of the others stays; `freed` are the bytes of the
    components that nobody has any more.
    """

    gone: tuple[VersionRecord, ...]
    kept: tuple[tuple[VersionRecord, str], ...]
    freed: int


def prune(
    function: FunctionRecord,
    versions: Sequence[VersionRecord],
    keep: Keep,
    now_ms: float,
    uses: Callable[[str], int],
    *,
    by_itself: bool = False,
) -> Pruned:
    """What would go of `versions`, which are in order of their number; `uses` says how many have a digest. `by_itself`:
    nobody asked for it now.
    """
    past = history(function)
    serving = {share.version for share in shares(function)}
    before = {share.version for share in shares(past[-2])} if len(past) > 1 else set()
    newest = {version.number for version in versions[max(len(versions) - keep.versions, 0) :]}
    window_ms = max(keep.days * DAY_MS, SETTLED_MS)
    served = {
        share.version
        for one, until in pairwise([*past, None])
        if one is not None and (until is None or until.since_ms > now_ms - window_ms)
        for share in shares(one)
    }
    unknown_ms = past[0].since_ms if len(past) == HISTORY_MAX and past[0].since_ms > now_ms - window_ms else 0.0

    def why(version: VersionRecord) -> str:
        if version.number in serving:
            return "serves"
        if version.status == "compiling":
            return "is being compiled"
        if version.number in before:
            return "served before: a rollback goes back to it"
        if version.number in newest:
            return f"is one of the newest {keep.versions}"
        if by_itself and version.created_ms > now_ms - SETTLED_MS:
            return "was shipped a moment ago"
        if version.number in served:
            return f"served within {keep.days:g} days" if keep.days * DAY_MS >= SETTLED_MS else "served a moment ago"
        if version.status == "deploy_ok" and version.created_ms < unknown_ms:
            return "may have served lately: the history of deployments does not go back so far"
        return ""

    reasons = [(version, why(version)) for version in versions]
    gone = tuple(version for version, reason in reasons if not reason)
    leaving = Counter(version.digest for version in gone)
    sizes = {version.digest: version.size for version in gone}
    freed = sum(size for digest, size in sizes.items() if leaving[digest] == uses(digest))
    return Pruned(gone, tuple((version, reason) for version, reason in reasons if reason), freed)
