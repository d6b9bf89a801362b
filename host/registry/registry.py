"""The registry: every tenant, function, version and API key of the host, in memory, with the engine behind it.

A change is checked, written, synced, and only then seen: by the caller, by readers, by what serves. Changes run one
after the other under one lock (they are rare, and each is a check plus a write), and run to their end even if the
caller goes away, so memory and disk cannot come apart. Reads never wait.

Invariants: labels are unique on the host; names are unique in a tenant; an actor type has one owner in a tenant;
version numbers are never used twice; a version never changes once it is `deploy_ok` or `deploy_failed`.

Not here: bundles, blobs and compiling (`publish`), the look-ups of the hot path (`serving`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Collection, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from host.model.clock import Clock
from host.model.errors import Conflict, NotFound, UsageError
from host.model.ids import FUNCTION_NAME
from host.model.limits import LIMITS, TENANT_LIMITS, Limits, TenantLimits
from host.model.manifest import Manifest
from host.registry import deployments, ownership, store
from host.registry.auth import ApiKeys, hash_key, new_key
from host.registry.deployments import Deployed
from host.registry.labels import free_label
from host.registry.ports import CompiledComponent, Durable, Spread, nowhere
from host.registry.records import (
    DEFAULT_TENANT,
    ApiKeyRecord,
    FunctionRecord,
    Role,
    TenantRecord,
    VersionRecord,
)
from host.registry.serving import Change, OnChange, Serving, runnable, serves
from host.storage.ports import Engine

RESTARTED = "The host was restarted while this version was compiling. Ship it again."
PREPARING = "The function is being prepared after a restart of the host. Try again in a moment."

T = TypeVar("T")


class Registry:
    """One per process. `load` comes first; afterwards everything is called on the loop's thread."""

    def __init__(
        self,
        engine: Engine,
        committer: Durable,
        clock: Clock,
        *,
        spread: Spread = nowhere,
        limits: Limits = LIMITS,
        tenant_limits: TenantLimits = TENANT_LIMITS,
    ) -> None:
        self.limits = limits
        self.tenant_limits = tenant_limits
        self._store = store.Store(engine, committer)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()
        self._tenants: dict[str, TenantRecord] = {}
        self._functions: dict[str, FunctionRecord] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._labels: set[str] = set()
        self._versions: dict[str, dict[int, VersionRecord]] = {}
        self._uses: Counter[str] = Counter()
        self._keys = ApiKeys(clock)
        self._serving = Serving()
        self._spread = spread
        self.route = self._serving.route
        """route(label) -> Version | None: what serves a host label such as `account-0198c2c58a`."""
        self.owner = self._serving.owner
        """owner(tenant, actor_type) -> Version | None: the serving version that has the type's class."""
        self.why_unavailable = self._serving.why_unavailable
        """why_unavailable(label) -> str | None: why a deployed function has no route at the moment."""
        self.changes = self._serving.changes
        """changes() -> list[Change]: what a replica that joins now has to follow first."""
        self.authenticate = self._keys.authenticate
        """authenticate(key) -> ApiKeyRecord | None"""

    async def load(self) -> None:
        """Read everything that is stored and settle what the last process left half-done.

        No version serves yet: `activate` is called for each deployed one when its artifact is there.
        Raises UnreadableRecord, StorageBroken.
        """
        for tenant in self._store.read(TenantRecord):
            self._tenants[tenant.id] = tenant
        for key in self._store.read(ApiKeyRecord):
            self._keys.add(key)
        for function in self._store.read(FunctionRecord):
            self._remember_function(function)
            if function.serving is not None:
                self._serving.apply(Change(function.label, reason=PREPARING))
        for version in self._store.read(VersionRecord):
            if version.function_id in self._functions:
                self._remember_version(version)
        if DEFAULT_TENANT not in self._tenants:
            await self._change(self._create_tenant(DEFAULT_TENANT))
        for versions in list(self._versions.values()):
            for version in list(versions.values()):
                if version.status == "compiling":
                    await self.fail(version.function_id, version.number, (RESTARTED,))

    def on_change(self, callback: OnChange) -> None:
        """Call `callback(old, new)` whenever another version serves a label; None: no version does."""
        self._serving.on_change(callback)

    # --- tenants and keys ---------------------------------------------------------------------------------------------

    def tenants(self) -> list[TenantRecord]:
        return list(self._tenants.values())

    async def _create_tenant(self, tenant_id: str) -> TenantRecord:
        tenant = TenantRecord(tenant_id, self._clock.now())
        await self._store.commit([store.put_tenant(tenant)])
        self._tenants[tenant_id] = tenant
        return tenant

    async def create_tenant(self, tenant_id: str) -> TenantRecord:
        """Raises Conflict."""

        async def change() -> TenantRecord:
            if tenant_id in self._tenants:
                raise Conflict(f"There is a tenant {tenant_id!r} already; choose another id.")
            return await self._create_tenant(tenant_id)

        return await self._change(change())

    async def create_key(self, tenant: str, label: str, role: Role, *, key: str | None = None) -> str:
        """A new API key of a tenant. It is returned here and never again. Raises NotFound."""
        key = key or new_key()

        async def change() -> str:
            if tenant not in self._tenants:
                raise NotFound(f"There is no tenant {tenant!r}.")
            record = ApiKeyRecord(hash_key(key), tenant, label, role, self._clock.now())
            await self._store.commit([store.put_api_key(record)])
            self._keys.add(record)
            return key

        return await self._change(change())

    def has_operator_key(self) -> bool:
        return bool(self._keys.of_role("operator"))

    # --- functions ----------------------------------------------------------------------------------------------------

    def functions(self, tenant: str) -> list[FunctionRecord]:
        """A tenant's functions, in order of their name."""
        mine = (function for function in self._functions.values() if function.tenant == tenant)
        return sorted(mine, key=lambda function: function.name)

    def deployed(self) -> list[FunctionRecord]:
        """The functions of all tenants that have a version which serves, or should."""
        return [function for function in self._functions.values() if function.serving is not None]

    def function(self, tenant: str, ref: str) -> FunctionRecord:
        """A tenant's function by its id or name. Raises NotFound, for another tenant's function as well."""
        function = self._functions.get(self._names.get((tenant, ref), ref))
        if function is None or function.tenant != tenant:
            raise NotFound(f"There is no function {ref[:80]!r}. List yours with `tenure list`.")
        return function

    async def create_function(self, tenant: str, name: str, *, actor: bool = False) -> FunctionRecord:
        """Raises UsageError (name, quota), Conflict (the name is taken), NotFound (tenant)."""
        if not FUNCTION_NAME.fullmatch(name):
            raise UsageError(
                f"{name[:60]!r} cannot be a function's name. Use at most 40 lower-case letters, digits and hyphens, "
                "beginning with a letter and not ending with a hyphen."
            )

        async def change() -> FunctionRecord:
            if tenant not in self._tenants:
                raise NotFound(f"There is no tenant {tenant!r}.")
            if (tenant, name) in self._names:
                raise Conflict(f"There is a function {name!r} already. Choose another name or delete that one first.")
            if len(self.functions(tenant)) >= self.tenant_limits.functions_max:
                raise UsageError(
                    f"You have {self.tenant_limits.functions_max} functions, the most allowed. Delete one."
                )
            function_id, label = free_label(name, self._labels)
            function = FunctionRecord(function_id, tenant, name, label, self._clock.now(), actor)
            await self._store.commit([store.put_function(function)])
            self._remember_function(function)
            return function

        return await self._change(change())

    async def delete_function(self, tenant: str, ref: str) -> tuple[str, ...]:
        """Remove a function with its versions; its route goes at once. Returns the digests nobody uses any more."""

        async def change() -> tuple[str, ...]:
            function = self.function(tenant, ref)
            versions = self._versions.get(function.id, {})
            drops = [store.drop_version(tenant, version) for version in versions.values()]
            await self._store.commit([store.drop_function(function), *drops])
            await self._change_serving(Change(function.label))
            del self._functions[function.id]
            del self._names[tenant, function.name]
            self._labels.discard(function.label)
            self._versions.pop(function.id, None)
            return self._release(versions.values())

        return await self._change(change())

    # --- versions -----------------------------------------------------------------------------------------------------

    def version(self, function_id: str, number: int) -> VersionRecord:
        """Raises NotFound."""
        versions = self._versions.get(function_id, {})
        if number not in versions:
            raise NotFound(deployments.unknown(number, versions))
        return versions[number]

    def versions(self, function_id: str) -> list[VersionRecord]:
        """In order of their number; empty for a function that was never shipped or is gone."""
        return sorted(self._versions.get(function_id, {}).values(), key=lambda version: version.number)

    def uses(self, digest: str) -> int:
        """How many versions have this component."""
        return self._uses[digest]

    def digests(self) -> set[str]:
        return {digest for digest, count in self._uses.items() if count}

    async def add_version(
        self, function_id: str, *, digest: str, size: int, manifest: Manifest, warnings: Sequence[str] = ()
    ) -> tuple[VersionRecord, tuple[str, ...]]:
        """(the new version, in status "compiling"; the digests that dropping the oldest versions left unused)."""

        async def change() -> tuple[VersionRecord, tuple[str, ...]]:
            function = self._function(function_id)
            version = VersionRecord(
                function_id,
                function.next_number,
                "compiling",
                digest,
                size,
                self._clock.now(),
                manifest,
                tuple(warnings),
            )
            old = self._beyond_kept(function)
            changed = replace(function, next_number=version.number + 1)
            drops = [store.drop_version(function.tenant, one) for one in old]
            await self._store.commit([store.put_version(function.tenant, version), store.put_function(changed), *drops])
            self._functions[function_id] = changed
            self._remember_version(version)
            for one in old:
                del self._versions[function_id][one.number]
            return version, self._release(old)

        return await self._change(change())

    async def deploy(self, function_id: str, number: int, compiled: CompiledComponent, by: str = "") -> Deployed:
        """Make a version serve, one that is new or one that did before; `by` is the label of the key that asked.

        Raises Conflict (the version failed, an actor type has another owner), UsageError (quota), NotFound.
        """

        async def change() -> Deployed:
            function, version = self._function(function_id), self.version(function_id, number)
            if version.status == "deploy_failed":
                deployments.check_deployable(version)
            exported = tuple(name for name in compiled.actors if ownership.is_type_name(name))
            others = self._others(function)
            owners = ownership.owners(others)
            if taken := ownership.conflicts(exported, owners):
                raise Conflict(taken[0], details=taken)
            if len(owners) + len(exported) > self.tenant_limits.actor_types_max:
                raise UsageError(
                    f"With this version you would have {len(owners) + len(exported)} actor types; at most "
                    f"{self.tenant_limits.actor_types_max} are allowed. Delete a function or merge classes."
                )
            before = () if function.serving is None else self.version(function_id, function.serving).actor_types
            users = ownership.users(others, set(before) - set(exported))
            odd = ownership.warnings(version.manifest, compiled.actors, before, owners, users)
            if version.status == "compiling":
                version = replace(
                    version,
                    status="deploy_ok",
                    warnings=(*version.warnings, *odd),
                    actor_types=exported,
                    has_handler=compiled.handler,
                    sdk=compiled.sdk,
                )
            function = deployments.deployed(function, number, self._clock.now(), by)
            await self._settle(function, version, serves(runnable(function, version, compiled.artifact, self.limits)))
            return Deployed(version, function.history[-1], tuple(odd))

        return await self._change(change())

    async def fail(self, function_id: str, number: int, errors: Sequence[str]) -> VersionRecord:
        """A version cannot be deployed. What served before still serves. Raises NotFound."""

        async def change() -> VersionRecord:
            function, version = self._function(function_id), self.version(function_id, number)
            version = replace(version, status="deploy_failed", errors=tuple(errors))
            function = replace(function, status="deploy_failed", errors=tuple(errors))
            await self._settle(function, version)
            return version

        return await self._change(change())

    def activate(self, function_id: str, number: int, artifact: Path) -> bool:
        """After a restart: the deployed version's artifact is there, so it serves. False if it was replaced since."""
        function = self._functions.get(function_id)
        if function is None or function.serving != number or self._serving.route(function.label) is not None:
            return False
        self._change_serving(serves(runnable(function, self.version(function_id, number), artifact, self.limits)))
        return True

    def hold(self, function_id: str, reason: str) -> None:
        """After a restart: say why a deployed function does not serve."""
        function = self._functions.get(function_id)
        if function is not None and self._serving.route(function.label) is None:
            self._change_serving(Change(function.label, reason=reason))

    def _others(self, function: FunctionRecord) -> ownership.Deployed:
        """The tenant's functions that serve, each with the version that does, without `function` itself."""
        others = (one for one in self.functions(function.tenant) if one.id != function.id and one.serving is not None)
        return [(one, self.version(one.id, one.serving or 0)) for one in others]

    def _beyond_kept(self, function: FunctionRecord) -> list[VersionRecord]:
        """The oldest versions that go when one is added: never what serves, never what is being compiled."""
        versions = self.versions(function.id)
        excess = len(versions) + 1 - self.tenant_limits.versions_kept
        unused = [one for one in versions if one.number != function.serving and one.status != "compiling"]
        return unused[: max(excess, 0)]

    # --- how a change is made -----------------------------------------------------------------------------------------

    async def _change(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` after the changes before it, to its end even when the caller is cancelled meanwhile."""

        async def in_turn() -> T:
            async with self._lock:
                return await work

        task = asyncio.ensure_future(in_turn())
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # seen: when the caller went away nobody else looks

    async def _settle(self, function: FunctionRecord, version: VersionRecord, change: Change | None = None) -> None:
        """What a change of what serves leads to is seen only when it is done everywhere."""
        await self._store.commit([store.put_version(function.tenant, version), store.put_function(function)])
        if change is not None:
            await self._change_serving(change)
        self._functions[function.id] = function
        self._versions[function.id][version.number] = version

    def _change_serving(self, change: Change) -> Awaitable[None]:
        """Here at once, with all others when the result is awaited."""
        self._serving.apply(change)
        return self._spread(change)

    def _function(self, function_id: str) -> FunctionRecord:
        function = self._functions.get(function_id)
        if function is None:
            raise NotFound("The function was deleted.")
        return function

    def _remember_function(self, function: FunctionRecord) -> None:
        self._functions[function.id] = function
        self._names[function.tenant, function.name] = function.id
        self._labels.add(function.label)

    def _remember_version(self, version: VersionRecord) -> None:
        self._versions.setdefault(version.function_id, {})[version.number] = version
        self._uses[version.digest] += 1

    def _release(self, versions: Collection[VersionRecord]) -> tuple[str, ...]:
        """Count these versions out; the digests that no version has any more."""
        for version in versions:
            self._uses[version.digest] -= 1
        unused = sorted({version.digest for version in versions if self._uses[version.digest] <= 0})
        for digest in unused:
            del self._uses[digest]
        return tuple(unused)
