"""A registry on a memory engine, and a compiler that believes what a component says of itself.

`LabelCompiler` stands in for the sandbox in unit tests only: a component made by `component(...)` is the eight bytes of
a component's head and a JSON text with what the compiler is to answer. Real components are tested elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.model.clock import ManualClock
from host.model.errors import BundleError
from host.model.keep import Keep
from host.model.limits import BundleLimits, TenantLimits
from host.model.quotas import DEFAULTS, Quotas
from host.registry.ports import Resolver
from host.registry.publish import Publisher
from host.registry.records import FunctionRecord, VersionRecord
from host.registry.registry import Registry
from host.registry.sealing import open_key_ring
from host.storage.blobs import BlobStore
from host.storage.commit import Committer
from host.storage.memory import MemoryEngine
from tests.kit.bundles import zip_of

WASM_HEAD = b"\0asm\x0d\x00\x01\x00"
HEAD = 'name = "account"\nmain = "src/index.ts"\ncompatibility_date = "2026-05-01"\n'


def component(*actors: str, handler: bool = True, errors: tuple[str, ...] = (), note: str = "") -> bytes:
    """A component for `LabelCompiler`; another `note` is another digest."""
    return WASM_HEAD + json.dumps({"handler": handler, "actors": actors, "errors": errors, "note": note}).encode()


def manifest(*types: str, extra: str = "") -> str:
    """A manifest that binds these actor types."""
    return HEAD + extra + "".join(f'[[actors]]\nbinding = "{name.upper()}"\ntype = "{name}"\n' for name in types)


def bundle(text: str, wasm: bytes) -> bytes:
    return zip_of({"tenure.toml": text.encode(), "component.wasm": wasm})


@dataclass(frozen=True)
class Labelled:
    digest: str
    artifact: Path
    handler: bool
    actors: tuple[str, ...]
    sdk: str = "unit/1"


class LabelCompiler:
    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.go = asyncio.Event()
        self.go.set()
        self.started = asyncio.Event()
        self.failure: Exception | None = None
        self.running = self.running_most = 0
        cache.mkdir(exist_ok=True)

    def artifact_path(self, digest: str) -> Path:
        return self.cache / f"{digest}.cwasm"

    async def compile(self, wasm: Path) -> Labelled:
        self.running += 1
        self.running_most = max(self.running_most, self.running)
        try:
            data = await asyncio.to_thread(wasm.read_bytes)
            self.started.set()
            await self.go.wait()
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        label: dict[str, Any] = json.loads(data[data.index(b"{") :])
        if label["errors"]:
            raise BundleError(label["errors"][0], details=label["errors"])
        digest = hashlib.sha256(data).hexdigest()
        self.artifact_path(digest).write_bytes(b"machine code")
        return Labelled(digest, self.artifact_path(digest), label["handler"], tuple(label["actors"]))


class Host:
    """Registry, publisher and what they stand on. `restart` is a new process on the same disk."""

    def __init__(
        self,
        folder: Path,
        tenant_limits: TenantLimits | None = None,
        bundle_limits: BundleLimits | None = None,
        quotas: Quotas = DEFAULTS,
    ) -> None:
        self.quotas = quotas
        self.folder = folder
        self.tenant_limits = tenant_limits or TenantLimits()
        self.bundle_limits = bundle_limits or BundleLimits()
        self.engine = MemoryEngine()
        self.clock = ManualClock()
        self.given_key = ""
        self.resolver: Resolver | None = None
        self.keep: Keep | None = None

    async def start(self) -> Host:
        self.committer = Committer(self.engine, self.clock)
        ring = open_key_ring(self.folder, self.given_key)
        self.registry = Registry(
            self.engine,
            self.committer,
            self.clock,
            ring=ring,
            tenant_limits=self.tenant_limits,
            quotas=self.quotas,
            resolver=self.resolver,
            keep=self.keep,
        )
        self.blobs = BlobStore(self.folder / "blobs")
        self.compiler = LabelCompiler(self.folder / "cache")
        work = self.folder / "work"
        self.publisher = Publisher(self.registry, self.blobs, self.compiler, work, self.bundle_limits, queue_max=3)
        await self.registry.load()
        await self.publisher.start()
        return self

    async def stop(self) -> None:
        await self.publisher.close()
        await self.committer.close()

    async def restart(self) -> None:
        """What was not synced is lost, as in a power cut."""
        await self.publisher.close()
        self.engine.crash()
        await self.start()

    async def begin(self, function: FunctionRecord, data: bytes) -> VersionRecord:
        upload = await asyncio.to_thread(self.publisher.reserve_path)
        upload.write_bytes(data)
        return await self.publisher.begin(function.tenant, function.id, upload)

    async def ship(self, function: FunctionRecord, text: str, wasm: bytes) -> VersionRecord:
        """Ship and wait for the outcome."""
        version = await self.begin(function, bundle(text, wasm))
        await self.publisher.idle()
        return self.registry.version(function.id, version.number)

    def work_files(self) -> list[Path]:
        return list((self.folder / "work").iterdir())
