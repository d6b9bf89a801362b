"""From an uploaded bundle to a version that serves.

`begin` does what is quick while the caller waits: read the zip, check the manifest, keep the component, number the
version. The rest (check the component against the world, compile, deploy) takes seconds and happens afterwards, one
version at a time, because compiling takes a whole core and much memory. The outcome is in the version's record.

Invariants: what served before serves until the new deployment is durable; nothing of a refused bundle is kept; at most
`QUEUE_MAX` versions wait. What becomes of a component's files is `components`.

Runs on the loop; what blocks runs in threads.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from host.model.errors import Conflict, HostError, ManifestError, NotFound, TenureError, Unavailable
from host.model.keep import Keep
from host.model.limits import BUNDLE_LIMITS, BundleLimits
from host.model.manifest import Manifest, parse_manifest
from host.registry import deployments, sourcemap
from host.registry.bundle import Bundle, read_bundle
from host.registry.components import Components
from host.registry.deployments import Deployed
from host.registry.ports import Blobs, CompiledComponent, Compiler
from host.registry.pruning import Pruned
from host.registry.records import FunctionRecord, Share, VersionRecord
from host.registry.registry import Registry
from host.telemetry.log import get

QUEUE_MAX = 16
"""Versions that wait for the compiler, the running one included."""

NOTHING_EXPORTED = (
    "The component has neither a fetch handler nor an actor class. Export a default object with `fetch`, or a class "
    "that extends StatefulActor, from the entry point."
)
COMPILER_FAILED = (
    "The host could not compile this version, for a reason of its own. Ship it again; if that fails too, tell the "
    "host's operator."
)
NOT_COMPILED_AGAIN = (
    "Version {number} is no longer compiled on this host, and compiling it again failed. What serves still serves."
)
NOT_COMPILED = "The function's code cannot be prepared on this host since its restart. Ship it again."

_log = get("registry.publish")

T = TypeVar("T")


class _Job(NamedTuple):
    function_id: str
    number: int
    digest: str
    redo: bool = False
    """The version is deployed already; only its artifact is missing."""
    by: str = ""
    """Label of the API key that asked."""
    deploy: bool = True
    """It is to serve once it is compiled."""
    compiled: asyncio.Future[CompiledComponent] | None = None
    """Set for a version that is compiled again to be deployed: who waits here deploys it."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A component that was compiled before, as its version's record has it."""

    digest: str
    artifact: Path
    handler: bool
    actors: tuple[str, ...]
    sdk: str


def _nobody(_function_id: str) -> None:
    """Nobody is told."""


class Publisher:
    """One per process. `start` after `Registry.load`, `close` before the engine is closed."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        compiler: Compiler,
        work_dir: Path,
        limits: BundleLimits = BUNDLE_LIMITS,
        *,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self.on_settled: Callable[[str], None] = _nobody
        """Told of a function when a version of it was compiled, or other versions serve."""
        self.limits = limits
        self.work_dir = work_dir
        self._registry = registry
        self._blobs = blobs
        self._compiler = compiler
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()
        self._queue_max = queue_max
        self._waiting = 0
        self._components = Components(registry, blobs, compiler)
        self._worker: asyncio.Task[None] | None = None
        self._begun: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Let every deployed version serve whose artifact is on disk; compile the others in the background."""
        await asyncio.to_thread(_empty, self.work_dir)
        await self._components.sweep()
        for function in self._registry.deployed():
            if not self._activate(function):
                for version in self._registry.serving(function):
                    self._queue.put_nowait(_Job(function.id, version.number, version.digest, redo=True))
        self._worker = asyncio.create_task(self._work(), name="publish")

    async def close(self) -> None:
        """Stop compiling. Versions that wait are marked as failed when the host starts again."""
        for task in (*self._begun, *([self._worker] if self._worker else [])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._worker = None

    async def idle(self) -> None:
        """Wait until nothing is left to compile."""
        await self._queue.join()

    def reserve_path(self) -> Path:
        """A fresh file in the work folder for an upload; whoever passes it to `begin` need not remove it. Blocks."""
        with tempfile.NamedTemporaryFile(dir=self.work_dir, prefix="upload-", delete=False) as file:
            return Path(file.name)

    async def begin(
        self, tenant: str, function_id: str, upload: Path, by: str = "", *, deploy: bool = True
    ) -> VersionRecord:
        """Take the bundle in the file `upload`, which is removed; the version comes back in status "compiling".

        `by` is the label of the key that ships it; without `deploy` what serves stays. Goes on to its end even if the
        caller is cancelled. Raises NotFound, TooLarge, BundleError, ManifestError, Unavailable (too many versions wait
        for the compiler), StorageBroken.
        """
        try:
            function = self._registry.function(tenant, function_id)
            self._check_room()
        except TenureError:
            await asyncio.to_thread(upload.unlink, missing_ok=True)
            raise
        self._waiting += 1
        return await self._to_the_end(self._take(function, upload, by, deploy))

    def _check_room(self) -> None:
        if self._waiting >= self._queue_max:
            raise Unavailable(f"{self._queue_max} versions wait to be compiled. Try again in a minute.")

    async def deploy(self, tenant: str, ref: str, wanted: Sequence[Share], by: str = "") -> Deployed:
        """Let versions serve that are `deploy_ok`: an older one, a newer one again, or several, each by its weight.
        What serves already stays.

        What serves changes as soon as the record is durable; only a version whose artifact is gone is compiled first,
        after those that wait. Goes on to its end even if the caller is cancelled. Raises NotFound, Conflict (a version
        failed or is not ready, a type has another owner, one cannot be compiled any more), Unavailable, UsageError,
        StorageBroken.
        """
        wanted = deployments.in_order(wanted)
        function = self._registry.function(tenant, ref)
        versions = {share: self._registry.version(function.id, share.version) for share in wanted}
        for version in versions.values():
            deployments.check_deployable(version)
        if deployments.shares(function) == wanted and self._registry.route(function.label) is not None:
            return Deployed(deployments.history(function)[-1])
        return await self._to_the_end(self._deploy_again(function, versions, by))

    async def _deploy_again(
        self, function: FunctionRecord, versions: Mapping[Share, VersionRecord], by: str
    ) -> Deployed:
        compiled = {share: await self._compiled(version) for share, version in versions.items()}
        try:
            deployed = await self._registry.deploy(function.id, compiled, by)
        except NotFound:  # it was pruned, or the function deleted, while one was compiled
            async with self._components.lock:
                await self._components.forget(version.digest for version in versions.values())
            raise
        self.on_settled(function.id)
        return deployed

    async def _compiled(self, version: VersionRecord) -> CompiledComponent:
        artifact = self._compiler.artifact_path(version.digest)
        if await asyncio.to_thread(artifact.exists):
            return _Known(version.digest, artifact, version.has_handler, version.actor_types, version.sdk)
        self._check_room()
        self._waiting += 1
        waiting: asyncio.Future[CompiledComponent] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Job(version.function_id, version.number, version.digest, compiled=waiting))
        return await waiting

    async def prune(self, tenant: str, ref: str, keep: Keep | None = None, *, dry_run: bool = False) -> Pruned:
        """Remove old versions of a function by `keep`, or by its own rule, and what only they used; goes on to its end.
        Raises NotFound, Unavailable, StorageBroken.
        """

        async def remove() -> Pruned:
            async with self._components.lock:
                pruned, unused = await self._registry.rules.prune(tenant, ref, keep, dry_run=dry_run)
                await self._components.forget(unused)
                return pruned

        return await self._to_the_end(remove())

    async def delete_function(self, tenant: str, ref: str) -> None:
        """Remove a function, its versions and what only they used. Raises NotFound."""

        async def delete() -> None:
            async with self._components.lock:
                await self._components.forget(await self._registry.delete_function(tenant, ref))

        await self._to_the_end(delete())

    # --- taking a bundle ----------------------------------------------------------------------------------------------

    async def _take(self, function: FunctionRecord, upload: Path, by: str, deploy: bool) -> VersionRecord:
        try:
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self.work_dir, prefix="bundle-"))
            try:
                bundle, manifest, warnings = await asyncio.to_thread(self._read, function, upload, folder)
                version = await self._store(function, bundle, manifest, warnings, by)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                await asyncio.to_thread(upload.unlink, missing_ok=True)
        except BaseException:
            self._waiting -= 1
            raise
        self._queue.put_nowait(_Job(function.id, version.number, version.digest, by=by, deploy=deploy))
        return version

    def _read(self, function: FunctionRecord, upload: Path, folder: Path) -> tuple[Bundle, Manifest, tuple[str, ...]]:
        bundle = read_bundle(upload, folder, self.limits)
        registry = self._registry
        manifest, warnings = parse_manifest(
            bundle.manifest_text,
            limits=registry.quotas.limits_of(function.tenant),
            tenant_limits=registry.tenant_limits,
            quotas=registry.quotas.of(function.tenant),
        )
        if manifest.func_id is not None and manifest.func_id != function.id:
            raise ManifestError(
                f"[edge_compute] func_id is {manifest.func_id}, but this bundle was shipped to the function "
                f"{function.name!r}, whose id is {function.id}. Ship it to its own function, or correct func_id."
            )
        wrong = sourcemap.complaint(bundle.component)
        return bundle, manifest, (*warnings, wrong) if wrong else warnings

    async def _store(
        self, function: FunctionRecord, bundle: Bundle, manifest: Manifest, warnings: tuple[str, ...], by: str
    ) -> VersionRecord:
        async with self._components.lock:
            digest = await asyncio.to_thread(self._blobs.put_file, bundle.component)
            try:
                version, unused = await self._registry.add_version(
                    function.id,
                    digest=digest,
                    size=bundle.component_bytes,
                    manifest=manifest,
                    warnings=warnings,
                    by=by,
                )
            except TenureError:
                await self._components.forget([digest])
                raise
            await self._components.forget(unused)
        return version

    # --- compiling and deploying --------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                if job.compiled is not None:
                    await self._compile_again(job, job.compiled)
                else:
                    await (self._prepare(job) if job.redo else self._publish(job))
                    self.on_settled(job.function_id)
            except Exception as error:  # the next version must not wait for ever because of this one
                _log.exception("publish_failed", error, function=job.function_id, version=job.number)
            finally:
                if not job.redo:
                    self._waiting -= 1
                self._queue.task_done()

    async def _publish(self, job: _Job) -> None:
        try:
            compiled = await self._compile(job)
            if isinstance(compiled, tuple):
                await self._registry.fail(job.function_id, job.number, compiled)
            else:
                await self._deploy(job, compiled)
        except NotFound:  # the function was deleted meanwhile
            async with self._components.lock:
                await self._components.forget([job.digest])

    async def _deploy(self, job: _Job, compiled: CompiledComponent) -> None:
        if not compiled.handler and not compiled.actors:
            await self._registry.fail(job.function_id, job.number, (NOTHING_EXPORTED,))
            return
        try:
            if job.deploy:
                await self._registry.deploy(job.function_id, {Share(job.number): compiled}, job.by)
            else:
                await self._registry.ready(job.function_id, job.number, compiled)
        except NotFound:
            raise
        except HostError:  # storage: the version stays "compiling", and the next start settles it
            raise
        except TenureError as error:
            await self._registry.fail(job.function_id, job.number, error.details)

    async def _compile(self, job: _Job) -> CompiledComponent | tuple[str, ...]:
        """The compiled component, or the reasons why there is none, fit for a tenant's eyes."""
        try:
            return await self._compiler.compile(self._blobs.path(job.digest))
        except TenureError as error:
            if not isinstance(error, HostError):
                return error.details
            _log.exception("compile_failed", error, function=job.function_id, details=" | ".join(error.details))
        except Exception as error:
            _log.exception("compile_failed", error, function=job.function_id)
        return (COMPILER_FAILED,)

    async def _compile_again(self, job: _Job, waiting: asyncio.Future[CompiledComponent]) -> None:
        compiled = await self._compile(job)
        if waiting.done():
            return  # the host is stopping: nobody waits any more
        if not isinstance(compiled, tuple):
            waiting.set_result(compiled)
        elif compiled == (COMPILER_FAILED,):
            waiting.set_exception(Unavailable(NOT_COMPILED_AGAIN.format(number=job.number)))
        else:
            text = NOT_COMPILED_AGAIN.format(number=job.number)
            waiting.set_exception(Conflict(text, details=(text, *compiled)))

    async def _prepare(self, job: _Job) -> None:
        compiled = await self._compile(job)
        if isinstance(compiled, tuple):
            _log.error("prepare_failed", function=job.function_id, version=job.number, reason=compiled[0])
            self._registry.hold(job.function_id, NOT_COMPILED)
        elif (function := self._registry.by_id(job.function_id)) is not None:
            self._activate(function)

    def _activate(self, function: FunctionRecord) -> bool:
        """Let what is deployed serve if all of it is compiled. Looks at the disk."""
        found = {one.number: self._compiler.artifact_path(one.digest) for one in self._registry.serving(function)}
        return all(path.exists() for path in found.values()) and self._registry.activate(function.id, found)

    # --- helpers ------------------------------------------------------------------------------------------------------

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # seen: when the caller went away nobody else looks


def _empty(folder: Path) -> None:
    """Make the work folder, or remove what the last process left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
