"""From a tenant's component to machine code that this host may run.

Compiling takes seconds and much memory, and the compiler reads what a stranger wrote; so it happens in a child
process with limits on CPU, memory and time, which also starts the guest once and asks it to `describe` itself. What
comes out is kept under a key of the component's digest, the engine's configuration and the library's version. An
artifact is machine code: only files that are ours alone (owner and mode are checked) are ever loaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from host.confine import environment
from host.confine.process import Mode
from host.model.errors import BundleError, HostError
from host.model.limits import BUNDLE_LIMITS, LIMITS, BundleLimits
from host.sandbox.configuration import CONFIGURATION
from host.telemetry import log

COMPILER_FAILED = "the host's compiler could not run: try again, and ask the operator to look at the host's log"
PACKAGES = Path(__file__).resolve().parents[2]
"""Where this very `host` package lies: the child must not find another one in the folder that it is started in."""

_BEING_MADE = "tmp-"

_log = log.get("sandbox")


class Report(TypedDict):
    """What the child found out. With `errors` the rest means nothing."""

    errors: list[str]
    handler: bool
    actors: list[str]
    sdk: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component that is ready to serve. `actors` are the names of the actor classes it exports."""

    digest: str
    artifact: Path
    handler: bool
    actors: tuple[str, ...]
    sdk: str


class Compiler:
    """Compiles into `cache`, a folder of this host's own (mode 0700)."""

    def __init__(self, cache: Path, limits: BundleLimits = BUNDLE_LIMITS, confine: Mode = "try") -> None:
        self.cache = cache
        self.confine = confine
        self.limits = limits
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in cache.glob(_BEING_MADE + "*"):
            if time.time() - leftover.stat().st_mtime > 2 * limits.compile_wall_s:  # of a host that was killed
                shutil.rmtree(leftover, ignore_errors=True)

    def artifact_path(self, digest: str) -> Path:
        version = importlib.metadata.version("wasmtime")
        key = hashlib.sha256(f"{digest} {CONFIGURATION} {version}".encode()).hexdigest()
        return self.cache / f"{key}.cwasm"

    async def compile(self, wasm: Path) -> Compiled:
        """Check and compile the component in the file `wasm`.

        Raises BundleError, whose `details` say why it cannot run here; HostError when the compiler itself failed.
        """
        digest = await asyncio.to_thread(_sha256, wasm)
        artifact = self.artifact_path(digest)
        report = await asyncio.to_thread(_read_report, artifact)
        if report is None:
            report = await self._compile(wasm, artifact)
        if report["errors"]:
            raise BundleError(report["errors"][0], details=report["errors"])
        return Compiled(digest, artifact, report["handler"], tuple(report["actors"]), report["sdk"])

    async def _compile(self, wasm: Path, artifact: Path) -> Report:
        """The child writes to a folder of its own: what others have compiled is machine code that workers run."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_BEING_MADE, dir=self.cache))
        try:
            made = folder / artifact.name
            report = await self._run_child(wasm, made)
            if not report["errors"]:
                os.rename(made, artifact)
                os.rename(report_path(made), report_path(artifact))
            return report
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run_child(self, wasm: Path, artifact: Path) -> Report:
        limits = self.limits
        try:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "host.sandbox.compile_child", str(wasm), str(artifact)),
                *(str(limits.compile_memory_bytes_max), str(int(limits.compile_cpu_s)), str(LIMITS.memory_bytes_max)),
                self.confine,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**environment.kept(os.environ), "PYTHONPATH": str(PACKAGES)},
            )
        except OSError as error:
            _log.exception("compiler_not_started", error)
            raise HostError(COMPILER_FAILED) from error
        try:
            async with asyncio.timeout(limits.compile_wall_s):
                output, errors = await child.communicate()
        except TimeoutError:
            raise BundleError(f"compiling took longer than {limits.compile_wall_s:g} s") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            if child.returncode < 0:
                raise BundleError(
                    f"the compiler was stopped (signal {-child.returncode}): the component needs more than "
                    f"{limits.compile_cpu_s:g} s of CPU time or {limits.compile_memory_bytes_max >> 20} MiB of memory"
                )
            _log.error("compiler_failed", code=child.returncode, output=errors.decode(errors="replace")[-2000:])
            raise HostError(COMPILER_FAILED)
        report: Report = json.loads(output)
        return report


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report_path(artifact: Path) -> Path:
    """Where the child leaves what it learned of a component that compiled."""
    return artifact.with_suffix(".json")


def _read_report(artifact: Path) -> Report | None:
    try:
        report: Report = json.loads(report_path(artifact).read_text())
        return report if artifact.exists() else None
    except (FileNotFoundError, ValueError):
        return None
