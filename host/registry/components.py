"""The files of components: a blob and a compiled artifact for each, shared by all versions that have its digest.

Both live exactly as long as a version has the digest. `lock` is held from when a blob is kept until its version is
stored, and while it is decided that no version has a digest and its files are removed; so neither sees the other half
done. Records go first, files after; what a crash leaves between the two goes at the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from host.registry.ports import Blobs, Compiler
from host.registry.registry import Registry
from host.telemetry.log import get

OLD_ARTIFACT_S = 7 * 86_400.0
"""Artifacts that nobody here knows stay so long: another build of this host has its own, and may be put back."""

_log = get("registry.components")


class Components:
    def __init__(self, registry: Registry, blobs: Blobs, compiler: Compiler) -> None:
        self.lock = asyncio.Lock()
        self._registry = registry
        self._blobs = blobs
        self._compiler = compiler

    async def forget(self, digests: Iterable[str]) -> None:
        """Remove the files of each digest that no version has. `lock` is held."""
        for digest in digests:
            if not self._registry.uses(digest):
                await asyncio.to_thread(self._remove, digest)

    async def sweep(self) -> None:
        """Remove what a crash left behind: blobs without a version, artifacts without a blob."""
        async with self.lock:
            known = self._registry.digests()
            await self.forget(await asyncio.to_thread(self._blobs.digests) - known)
            await asyncio.to_thread(self._sweep_artifacts, known)

    def _remove(self, digest: str) -> None:
        """The artifact first: as long as its blob is there it is found again."""
        try:
            artifact = self._compiler.artifact_path(digest)
            for file in artifact.parent.glob(artifact.stem + ".*"):
                file.unlink(missing_ok=True)
            self._blobs.delete(digest)
        except OSError as error:  # the next start removes what is left
            _log.error("remove_failed", digest=digest, error=error)

    def _sweep_artifacts(self, digests: set[str]) -> None:
        known = {self._compiler.artifact_path(digest).stem for digest in digests}
        until = time.time() - OLD_ARTIFACT_S
        try:
            for file in _compiled(self._compiler.artifact_path("0" * 64).parent):
                if file.stem not in known and file.stat().st_mtime < until:
                    file.unlink(missing_ok=True)
        except OSError as error:
            _log.error("sweep_failed", error=error)


def _compiled(folder: Path) -> Iterator[Path]:
    """Artifacts, and what is known of them."""
    yield from folder.glob("*.cwasm")
    yield from folder.glob("*.json")
