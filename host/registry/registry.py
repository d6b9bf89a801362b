"""The registry: every tenant, function, version and API key of the host, in memory, with the engine behind it.

A change is checked, written, synced, and only then seen: by the caller, by readers, by what serves. Changes run one
after the other, each to its end (`changes`). Reads never wait.

Invariants: labels are unique on the host; names are unique in a tenant; an actor type has one owner in a tenant;
version numbers are never used twice; a version never changes once it is `deploy_ok` or `deploy_failed`.

Not here: tenants and keys (`accounts`), what secrets hold (`secrets`), bundles, blobs and compiling (`publish`), the
look-ups of the hot path (`serving`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from host.model.clock import Clock
from host.model.errors import Conflict, NotFound, UsageError
from host.model.ids import FUNCTION_NAME
from host.model.limits import LIMITS, TENANT_LIMITS, Limits, TenantLimits
from host.model.manifest import Manifest
from host.model.version import Version
from host.registry import deployments, ownership, store
from host.registry.accounts import Accounts
from host.registry.changes import Changes
from host.registry.deployments import Deployed
from host.registry.labels import free_label
from host.registry.ports import CompiledComponent, Durable, Spread, nowhere
from host.registry.records import FunctionRecord, TenantRecord, TenantStatus, VersionRecord
from host.registry.replies import KeptReplies
from host.registry.sealing import KeyRing
from host.registry.secrets import Secrets
from host.registry.serving import Change, OnChange, Serving, runnable, serves
from host.storage.ports import Engine

RESTARTED = "The host was restarted while this version was compiling. Ship it again."
SUSPENDED = "The tenant of this function is suspended by the host's operator."
PREPARING = "The function is being prepared after a restart of the host. Try again in a moment."


class Registry:
    """One per process. `load` comes first; afterwards everything is called on the loop's thread."""

    def __init__(
        self,
        engine: Engine,
        committer: Durable,
        clock: Clock,
        *,
        spread: Spread = nowhere,
        ring: KeyRing | None = None,
        limits: Limits = LIMITS,
        tenant_limits: TenantLimits = TENANT_LIMITS,
    ) -> None:
        self.limits = limits
        self.tenant_limits = tenant_limits
        self._store = store.Store(engine, committer)
        self._clock = clock
        self._changes = Changes()
        self.accounts = Accounts(self._store, self._changes, clock)
        self.replies = KeptReplies(self._store, clock)
        self.secrets = Secrets(self._store, self._changes, self.accounts, ring, clock, tenant_limits, self._renew)
        self._functions: dict[str, FunctionRecord] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._labels: set[str] = set()
        self._versions: dict[str, dict[int, VersionRecord]] = {}
        self._uses: Counter[str] = Counter()
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
        self.authenticate = self.accounts.authenticate
        """authenticate(key) -> ApiKeyRecord | None"""
        self.create_tenant, self.create_key = self.accounts.create_tenant, self.accounts.create_key

    async def load(self) -> None:
        """Read everything that is stored and settle what the last process left half-done.

        No version serves yet: `activate` is called for each deployed one when its artifact is there.
        Raises UnreadableRecord, StorageBroken.
        """
        await self.accounts.load()
        await self.secrets.load()
        self.replies.load()
        for function in self._store.read(FunctionRecord):
            self._remember_function(function)
            if function.serving is not None:
                self._serving.apply(Change(function.label, reason=PREPARING))
        for version in self._store.read(VersionRecord):
            if version.function_id in self._functions:
                self._remember_version(version)
        for versions in list(self._versions.values()):
            for version in list(versions.values()):
                if version.status == "compiling":
                    await self.fail(version.function_id, version.number, (RESTARTED,))

    def on_change(self, callback: OnChange) -> None:
        """Call `callback(old, new)` whenever another version serves a label; None: no version does."""
        self._serving.on_change(callback)

    # --- tenants ------------------------------------------------------------------------------------------------------

    async def set_tenant_status(self, tenant_id: str, status: TenantStatus) -> TenantRecord:
        """What a suspended tenant has is refused, what one has that is deleted is gone. Raises NotFound, Conflict."""

        async def change() -> TenantRecord:
            before = self.accounts.tenant(tenant_id).status
            tenant = await self.accounts.set_status(tenant_id, status)
            for function in self.functions(tenant_id) if status != before else ():
                if status == "deleting":
                    await self._change_serving(Change(function.label))
                elif (version := self._ready_version(function)) is not None:
                    await self._change_serving(self._serves(function, version))
            return tenant

        return await self._changes.run(change())

    async def _renew(self, tenant: str, secret: str) -> None:
        """What binds the secret gets its new value the way it gets a new version."""
        for function in self.functions(tenant):
            version = self._ready_version(function)
            if version is not None and any(one.name == secret for one in version.manifest.secrets):
                values = self.secrets.values(tenant, version.manifest)
                await self._change_serving(self._serves(function, replace(version, secrets=values)))

    # --- functions ----------------------------------------------------------------------------------------------------

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
            self.accounts.check_there(tenant)
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

        return await self._changes.run(change())

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

        return await self._changes.run(change())

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
        self,
        function_id: str,
        *,
        digest: str,
        size: int,
        manifest: Manifest,
        warnings: Sequence[str] = (),
        by: str = "",
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
                by=by,
            )
            old = deployments.beyond_kept(function, self.versions(function_id), self.tenant_limits.versions_kept)
            changed = replace(function, next_number=version.number + 1)
            drops = [store.drop_version(function.tenant, one) for one in old]
            await self._store.commit([store.put_version(function.tenant, version), store.put_function(changed), *drops])
            self._functions[function_id] = changed
            self._remember_version(version)
            for one in old:
                del self._versions[function_id][one.number]
            return version, self._release(old)

        return await self._changes.run(change())

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
            odd += self.secrets.warnings(function.tenant, version.manifest)
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
            ready = self._runnable(function, version, compiled.artifact)
            await self._settle(function, version, self._serves(function, ready))
            return Deployed(version, function.history[-1], tuple(odd))

        return await self._changes.run(change())

    async def fail(self, function_id: str, number: int, errors: Sequence[str]) -> VersionRecord:
        """A version cannot be deployed. What served before still serves. Raises NotFound."""

        async def change() -> VersionRecord:
            function, version = self._function(function_id), self.version(function_id, number)
            version = replace(version, status="deploy_failed", errors=tuple(errors))
            function = replace(function, status="deploy_failed", errors=tuple(errors))
            await self._settle(function, version)
            return version

        return await self._changes.run(change())

    async def quarantine(self, function_id: str, number: int | None) -> FunctionRecord:
        """Refuse a version as long as it serves, after a restart too; None: end that. Raises NotFound."""

        async def change() -> FunctionRecord:
            function = replace(self._function(function_id), quarantined=number)
            await self._store.commit([store.put_function(function)])
            self._functions[function.id] = function
            if (version := self._ready_version(function)) is not None:
                await self._change_serving(self._serves(function, version))
            return function

        return await self._changes.run(change())

    def activate(self, function_id: str, number: int, artifact: Path) -> bool:
        """After a restart: the deployed version's artifact is there, so it serves. False if it was replaced since."""
        function = self._unserved(function_id)
        if function is None or function.serving != number:
            return False
        version = self._runnable(function, self.version(function_id, number), artifact)
        self._change_serving(self._serves(function, version))
        return True

    def hold(self, function_id: str, reason: str) -> None:
        """After a restart: say why a deployed function does not serve."""
        if (function := self._unserved(function_id)) is not None:
            self._change_serving(Change(function.label, reason=reason))

    def _unserved(self, function_id: str) -> FunctionRecord | None:
        """A function of which there is no version yet that is ready to serve."""
        function = self._functions.get(function_id)
        return function if function is not None and self._ready_version(function) is None else None

    def _ready_version(self, function: FunctionRecord) -> Version | None:
        """What serves, or would if it were not refused."""
        change = self._serving.change(function.label)
        return None if change is None else change.version

    def _runnable(self, function: FunctionRecord, version: VersionRecord, artifact: Path) -> Version:
        values = self.secrets.values(function.tenant, version.manifest)
        return replace(runnable(function, version, artifact, self.limits), secrets=values)

    def _serves(self, function: FunctionRecord, version: Version) -> Change:
        """`version` serves from now on, unless its tenant is suspended or it is in quarantine: then it is refused."""
        active = self.accounts.is_active(version.tenant)
        return serves(version)._replace(reason=deployments.in_quarantine(function) if active else SUSPENDED)

    def _others(self, function: FunctionRecord) -> ownership.Deployed:
        """The tenant's functions that serve, each with the version that does, without `function` itself."""
        others = (one for one in self.functions(function.tenant) if one.id != function.id and one.serving is not None)
        return [(one, self.version(one.id, one.serving or 0)) for one in others]

    # --- how a change is made -----------------------------------------------------------------------------------------

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
