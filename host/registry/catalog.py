"""The functions of all tenants and their versions as they are in memory: what is looked up, and by what.

Nothing here is written or decided: `registry` does that, and has each change remembered here once it is durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from host.model.errors import NotFound
from host.registry import deployments
from host.registry.records import FunctionRecord, VersionRecord


class Catalog:
    """`labels` are the host labels that are taken."""

    def __init__(self) -> None:
        self.labels: set[str] = set()
        self._functions: dict[str, FunctionRecord] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._versions: dict[str, dict[int, VersionRecord]] = {}
        self._uses: Counter[str] = Counter()

    # --- looking up ---------------------------------------------------------------------------------------------------

    def functions(self, tenant: str) -> list[FunctionRecord]:
        """A tenant's functions, in order of their name."""
        mine = (function for function in self._functions.values() if function.tenant == tenant)
        return sorted(mine, key=lambda function: function.name)

    def deployed(self) -> list[FunctionRecord]:
        """The functions of all tenants that have a version which serves, or should."""
        return [function for function in self._functions.values() if function.serving is not None]

    def function_ids(self) -> Collection[str]:
        """Of all tenants; as it is at any time."""
        return self._functions.keys()

    def has_name(self, tenant: str, name: str) -> bool:
        return (tenant, name) in self._names

    def function(self, tenant: str, ref: str) -> FunctionRecord:
        """A tenant's function by its id or name. Raises NotFound, for another tenant's function as well."""
        function = self._functions.get(self._names.get((tenant, ref), ref))
        if function is None or function.tenant != tenant:
            raise NotFound(f"There is no function {ref[:80]!r}. List yours with `tenure list`.")
        return function

    def by_id(self, function_id: str) -> FunctionRecord | None:
        """Of any tenant."""
        return self._functions.get(function_id)

    def version(self, function_id: str, number: int) -> VersionRecord:
        """Raises NotFound."""
        versions = self._versions.get(function_id, {})
        if number not in versions:
            raise NotFound(deployments.unknown(number, versions))
        return versions[number]

    def versions(self, function_id: str) -> list[VersionRecord]:
        """In order of their number; empty for a function that was never shipped or is gone."""
        return sorted(self._versions.get(function_id, {}).values(), key=lambda version: version.number)

    def serving(self, function: FunctionRecord) -> list[VersionRecord]:
        """Those that do, or should."""
        return [self.version(function.id, share.version) for share in deployments.shares(function)]

    def others(self, function: FunctionRecord) -> list[tuple[FunctionRecord, VersionRecord]]:
        """The tenant's functions that serve, each with each version that does, without `function` itself."""
        others = (one for one in self.functions(function.tenant) if one.id != function.id)
        return [(one, version) for one in others for version in self.serving(one)]

    def domains(self, function: FunctionRecord) -> tuple[str, ...]:
        """The host names that a function claims."""
        versions = self.serving(function)
        return tuple(dict.fromkeys(name for version in versions for name in version.manifest.domains))

    def uses(self, digest: str) -> int:
        """How many versions have this component."""
        return self._uses[digest]

    def digests(self) -> set[str]:
        return {digest for digest, count in self._uses.items() if count}

    # --- what changed -------------------------------------------------------------------------------------------------

    def put_function(self, function: FunctionRecord) -> None:
        """A new one, or one in place of what it was; id, tenant, name and label stay what they are."""
        self._functions[function.id] = function
        self._names[function.tenant, function.name] = function.id
        self.labels.add(function.label)

    def drop_function(self, function: FunctionRecord) -> tuple[str, ...]:
        """With all its versions; the digests that no version has any more."""
        del self._functions[function.id]
        del self._names[function.tenant, function.name]
        self.labels.discard(function.label)
        return self._release(self._versions.pop(function.id, {}).values())

    def put_version(self, version: VersionRecord) -> None:
        """A new one, or one in place of what it was; the digest stays what it is."""
        versions = self._versions.setdefault(version.function_id, {})
        self._uses[version.digest] += version.number not in versions
        versions[version.number] = version

    def drop_versions(self, versions: Collection[VersionRecord]) -> tuple[str, ...]:
        """The digests that no version has any more."""
        for version in versions:
            del self._versions[version.function_id][version.number]
        return self._release(versions)

    def _release(self, versions: Collection[VersionRecord]) -> tuple[str, ...]:
        for version in versions:
            self._uses[version.digest] -= 1
        unused = sorted({version.digest for version in versions if self._uses[version.digest] <= 0})
        for digest in unused:
            del self._uses[digest]
        return tuple(unused)
