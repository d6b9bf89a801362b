"""The registry: every tenant, function, version and API key of the host, in memory, with the engine behind it.

A change is checked, written, synced, and only then seen: by the caller, by readers, by what serves. Changes run one
after the other, each to its end (`changes`). Reads never wait.

Invariants: labels are unique on the host; names are unique in a tenant; an actor type has one owner in a tenant;
version numbers are never used twice; a version never changes once it is `deploy_ok` or `deploy_failed`.

Not here: how functions and versions are found (`catalog`), tenants and keys (`accounts`), what secrets hold
(`secrets`), `quotas`, pruning (`rules`), bundles and compiling (`publish`), blobs (`components`), what the hot path
looks up (`serving`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from host.model.clock import Clock
from host.model.errors import Conflict, NotFound, UsageError
from host.model.ids import FUNCTION_NAME
from host.model.keep import Keep
from host.model.limits import LIMITS, TENANT_LIMITS, Limits, TenantLimits
from host.model.manifest import Manifest
from host.model.quotas import DEFAULTS, Quotas
from host.model.version import Version
from host.registry import deployments, ownership, store
from host.registry.accounts import Accounts
from host.registry.catalog import Catalog
from host.registry.changes import Changes
from host.registry.deployments import Deployed
from host.registry.domains import Domains
from host.registry.labels import free_label
from host.registry.ports import CompiledComponent, Durable, Resolver, Spread, nowhere
from host.registry.quotas import TenantQuotas
from host.registry.records import FunctionRecord, FunctionStatus, Share, TenantRecord, TenantStatus, VersionRecord
from host.registry.replies import KeptReplies
from host.registry.rules import Rules
from host.registry.sealing import KeyRing
from host.registry.secrets import Secrets
from host.registry.serving import Change, OnChange, Serving, runnable
from host.registry.split import Part
from host.storage.ports import Engine, Write

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
        base_domain: str = "localhost",
        resolver: Resolver | None = None,
        quotas: Quotas = DEFAULTS,
        keep: Keep | None = None,
    ) -> None:
        self.tenant_limits = tenant_limits
        self._store = store.Store(engine, committer)
        self._clock = clock
        self._changes = Changes()
        self.accounts = Accounts(self._store, self._changes, clock)
        self.replies = KeptReplies(self._store, clock)
        parts = (self._store, self._changes, self.accounts)
        self.secrets = Secrets(*parts, ring, clock, tenant_limits, self._renew)
        self.quotas = TenantQuotas(*parts, limits, self._renew, quotas)
        self.domains = Domains(self._store, self._changes, clock, base_domain, resolver, self._renew)
        self._catalog = catalog = Catalog()
        self.rules = Rules(self._store, self._changes, catalog, clock, keep)
        self._serving = Serving()
        self._spread = spread
        self.route = self._serving.route
        """route(label) -> Version | None: what serves a request to a host label such as `account-0198c2c58a`."""
        self.owner = self._serving.owner
        """owner(tenant, actor_type) -> Version | None: the serving version that has the type's class."""
        self.version_of = self._serving.version_of
        """version_of(actor) -> Version | None: the one that an actor is on."""
        self.why_unavailable = self._serving.why_unavailable
        """why_unavailable(label) -> str | None: why a deployed function has no route at the moment."""
        self.changes = self._serving.changes
        """changes() -> list[Change]: what a replica that joins now has to follow first."""
        self.authenticate = self.accounts.authenticate
        """authenticate(key) -> ApiKeyRecord | None"""
        self.functions, self.function, self.function_ids = catalog.functions, catalog.function, catalog.function_ids
        self.versions, self.version, self.by_id = catalog.versions, catalog.version, catalog.by_id
        self.deployed = catalog.deployed
        self.serving, self.uses, self.digests = catalog.serving, catalog.uses, catalog.digests
        self.claims, self.domain = catalog.domains, self._serving.domain
        self.create_tenant, self.create_key = self.accounts.create_tenant, self.accounts.create_key

    async def load(self) -> None:
        """Read everything that is stored and settle what the last process left half-done.

        No version serves yet: `activate` is called for each deployed one when its artifact is there.
        Raises UnreadableRecord, StorageBroken.
        """
        await self.accounts.load()
        await self.secrets.load()
        self.replies.load()
        self.domains.load()
        for function in self._store.read(FunctionRecord):
            self._catalog.put_function(function)
        stored = [one for one in self._store.read(VersionRecord) if one.function_id in self.function_ids()]
        for version in stored:
            self._catalog.put_version(version)
        for function in self.deployed():
            self._serving.apply(self._held(function, PREPARING))
        for version in stored:
            if version.status == "compiling":
                await self.fail(version.function_id, version.number, (RESTARTED,))

    def on_change(self, callback: OnChange) -> None:
        """Call `callback(old, new)` whenever other versions serve a label."""
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
                elif parts := self._ready(function):
                    await self._change_serving(self._serves(function, parts))
            return tenant

        return await self._changes.run(change())

    async def _renew(self, tenant: str, secret: str | None = None) -> None:
        """What serves, or of that what binds the secret, gets what is new the way it gets a new version: its secrets,
        quotas and host names. What has nothing new stays the object it is (`serving`).
        """
        for function in self.functions(tenant):
            parts = self._ready(function)
            bound = {one.name for part in parts for one in part.version.manifest.secrets}
            if parts and secret in (None, *bound):
                renewed = tuple(part._replace(version=self._current(part.version)) for part in parts)
                await self._change_serving(self._serves(function, renewed))

    # --- functions ----------------------------------------------------------------------------------------------------

    async def create_function(self, tenant: str, name: str, *, actor: bool = False) -> FunctionRecord:
        """Raises UsageError (name), QuotaReached, Conflict (the name is taken), NotFound (tenant)."""
        if not FUNCTION_NAME.fullmatch(name):
            raise UsageError(
                f"{name[:60]!r} cannot be a function's name. Use at most 40 lower-case letters, digits and hyphens, "
                "beginning with a letter and not ending with a hyphen."
            )

        async def change() -> FunctionRecord:
            self.accounts.check_there(tenant)
            if self._catalog.has_name(tenant, name):
                raise Conflict(f"There is a function {name!r} already. Choose another name or delete that one first.")
            self.quotas.check(tenant, "functions", len(self.functions(tenant)) + 1)
            function_id, label = free_label(name, self._catalog.labels)
            function = FunctionRecord(function_id, tenant, name, label, self._clock.now(), actor)
            await self._store.commit([store.put_function(function)])
            self._catalog.put_function(function)
            return function

        return await self._changes.run(change())

    async def delete_function(self, tenant: str, ref: str) -> tuple[str, ...]:
        """Remove a function with its versions; its route goes at once. Returns the digests nobody uses any more."""

        async def change() -> tuple[str, ...]:
            function = self.function(tenant, ref)
            drops = [store.drop_version(tenant, version) for version in self.versions(function.id)]
            await self._store.commit([store.drop_function(function), *drops])
            await self._change_serving(Change(function.label))
            return self._catalog.drop_function(function)

        return await self._changes.run(change())

    # --- versions -----------------------------------------------------------------------------------------------------

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
            most = self.quotas.of(function.tenant).versions
            old = deployments.beyond_kept(function, self.versions(function_id), most)
            changed = replace(function, next_number=version.number + 1)
            drops = [store.drop_version(function.tenant, one) for one in old]
            await self._store.commit([store.put_version(function.tenant, version), store.put_function(changed), *drops])
            self._catalog.put_function(changed)
            self._catalog.put_version(version)
            return version, self._catalog.drop_versions(old)

        return await self._changes.run(change())

    async def ready(self, function_id: str, number: int, compiled: CompiledComponent) -> VersionRecord:
        """A new version is compiled and may be deployed; what serves stays. Raises NotFound."""

        async def change() -> VersionRecord:
            function, version = self._function(function_id), self.version(function_id, number)
            version = deployments.compiled_as(version, compiled, ownership.types_of(compiled.actors))
            status: FunctionStatus = "created" if function.serving is None else "deploy_ok"
            await self._settle(replace(function, status=status, errors=()), [version])
            return version

        return await self._changes.run(change())

    async def deploy(self, function_id: str, wanted: Mapping[Share, CompiledComponent], by: str = "") -> Deployed:
        """Make versions serve, new ones or some that did before; `by` is the label of the key that asked. `wanted` is
        `deployments.in_order`.

        Raises Conflict (a version failed, an actor type has another owner), QuotaReached, NotFound.
        """

        async def change() -> Deployed:
            function = self._function(function_id)
            before = {name for version in self.serving(function) for name in version.actor_types}
            versions = [self.version(function_id, share.version) for share in wanted]
            for version in versions:
                deployments.check_not_failed(version)
            manifests = [version.manifest for version in versions]
            review = list(zip(manifests, (compiled.actors for compiled in wanted.values()), strict=True))
            types_max = self.quotas.of(function.tenant).actor_types
            others = self._catalog.others(function)
            odd = ownership.review(function, review, before, others, types_max)
            names = tuple(dict.fromkeys(name for manifest in manifests for name in manifest.domains))
            taken = {name: one.name for one, version in others for name in version.manifest.domains}
            claims, writes = self.domains.claim(function.tenant, names, taken)
            for manifest in manifests:
                odd += [text for text in self.secrets.warnings(function.tenant, manifest) if text not in odd]
            for at, (version, compiled) in enumerate(zip(versions, wanted.values(), strict=True)):
                if version.status == "compiling":
                    done = deployments.compiled_as(version, compiled, ownership.types_of(compiled.actors))
                    versions[at] = replace(done, warnings=(*version.warnings, *odd))
            function = deployments.deployed(function, tuple(wanted), self._clock.now(), by)
            parts = tuple(
                Part(self._current(runnable(function, version, compiled.artifact)), share.weight)
                for version, (share, compiled) in zip(versions, wanted.items(), strict=True)
            )
            await self._settle(function, versions, self._serves(function, parts), writes)
            self.domains.claimed(function.tenant, names, taken, claims)
            return Deployed(function.history[-1], tuple(odd))

        return await self._changes.run(change())

    async def fail(self, function_id: str, number: int, errors: Sequence[str]) -> VersionRecord:
        """A version cannot be deployed. What served before still serves. Raises NotFound."""

        async def change() -> VersionRecord:
            function, version = self._function(function_id), self.version(function_id, number)
            version = replace(version, status="deploy_failed", errors=tuple(errors))
            function = replace(function, status="deploy_failed", errors=tuple(errors))
            await self._settle(function, [version])
            return version

        return await self._changes.run(change())

    async def quarantine(self, function_id: str, number: int | None) -> FunctionRecord:
        """Refuse a version as long as it serves, after a restart too; None: end that. A split goes on without it.

        Raises NotFound.
        """

        async def change() -> FunctionRecord:
            function, parts = self._function(function_id), self._ready(self._function(function_id))
            if number is not None and deployments.share_of(function, number) == 0:
                return function
            if function.split and number is not None:
                function = deployments.without(function, number, self._clock.now())
                parts = tuple(part for part in parts if part.version.number != number)
            else:
                function = replace(function, quarantined=number)
            await self._store.commit([store.put_function(function)])
            self._catalog.put_function(function)
            if parts:
                await self._change_serving(self._serves(function, parts))
            return function

        return await self._changes.run(change())

    def activate(self, function_id: str, artifacts: Mapping[int, Path]) -> bool:
        """After a restart: the artifacts of the deployed versions, by their numbers, are there, so they serve. False if
        others were deployed since.
        """
        function = self._unserved(function_id)
        if function is None or any(share.version not in artifacts for share in deployments.shares(function)):
            return False
        parts = tuple(
            Part(self._current(runnable(function, self.version(function_id, number), artifacts[number])), share.weight)
            for share in deployments.shares(function)
            for number in (share.version,)
        )
        self._change_serving(self._serves(function, parts))
        return True

    def hold(self, function_id: str, reason: str) -> None:
        """After a restart: say why a deployed function does not serve."""
        if (function := self._unserved(function_id)) is not None:
            self._change_serving(self._held(function, reason))

    def _unserved(self, function_id: str) -> FunctionRecord | None:
        """A function of which there is nothing yet that is ready to serve."""
        function = self._catalog.by_id(function_id)
        return function if function is not None and not self._ready(function) else None

    def _ready(self, function: FunctionRecord) -> tuple[Part, ...]:
        """What serves, or would if it were not refused."""
        change = self._serving.change(function.label)
        return () if change is None else change.parts

    def _current(self, version: Version) -> Version:
        """With the tenant's secrets and quotas as they are now."""
        return replace(
            version,
            secrets=self.secrets.values(version.tenant, version.manifest),
            quotas=self.quotas.of(version.tenant),
            limits=version.manifest.apply_limits(self.quotas.limits_of(version.tenant)),
        )

    def _serves(self, function: FunctionRecord, parts: tuple[Part, ...]) -> Change:
        """`parts` serve from now on; they are refused if the tenant is suspended, or the version in quarantine."""
        active = self.accounts.is_active(function.tenant)
        names = {name: None for part in parts for name in part.version.manifest.domains}
        domains = self.domains.verified(function.tenant, names)
        return Change(function.label, parts, deployments.in_quarantine(function) if active else SUSPENDED, domains)

    def _held(self, function: FunctionRecord, reason: str) -> Change:
        return Change(function.label, (), reason, self.domains.verified(function.tenant, self.claims(function)))

    # --- how a change is made -----------------------------------------------------------------------------------------

    async def _settle(
        self,
        function: FunctionRecord,
        versions: Sequence[VersionRecord],
        change: Change | None = None,
        besides: Sequence[Write] = (),
    ) -> None:
        """What a change of what serves leads to is seen only when it is done everywhere."""
        writes = [store.put_version(function.tenant, version) for version in versions]
        await self._store.commit([*writes, store.put_function(function), *besides])
        if change is not None:
            await self._change_serving(change)
        self._catalog.put_function(function)
        for version in versions:
            self._catalog.put_version(version)

    def _change_serving(self, change: Change) -> Awaitable[None]:
        """Here at once, with all others when the result is awaited."""
        self._serving.apply(change)
        return self._spread(change)

    def _function(self, function_id: str) -> FunctionRecord:
        function = self._catalog.by_id(function_id)
        if function is None:
            raise NotFound("The function was deleted.")
        return function
