"""What the registry needs from other rooms, and who implements it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from host.model.errors import StorageBroken
from host.registry.serving import Change
from host.storage.ports import Write


class Durable(Protocol):
    """`storage.commit.Committer`: the one way to write in a process, on the loop's thread."""

    def write(self, batch: Iterable[Write]) -> int:
        """Apply `batch` atomically; the number of the commit. Raises StorageBroken, OSError."""
        ...

    def when_synced(self, seq: int, callback: Callable[[StorageBroken | None], None]) -> None: ...

    def flush(self) -> None: ...


class Blobs(Protocol):
    """`storage.blobs.BlobStore`: files named by the SHA-256 of what they hold. All methods block."""

    def put_file(self, source: Path) -> str:
        """Keep a copy, durable when this returns; its digest in lower-case hex. Raises OSError."""
        ...

    def path(self, digest: str) -> Path: ...

    def delete(self, digest: str) -> bool: ...

    def digests(self) -> set[str]: ...


class CompiledComponent(Protocol):
    """`sandbox.component.Compiled`: a component that is checked, compiled and was started once."""

    @property
    def digest(self) -> str: ...
    @property
    def artifact(self) -> Path: ...
    @property
    def handler(self) -> bool: ...
    @property
    def actors(self) -> tuple[str, ...]: ...
    @property
    def sdk(self) -> str: ...


class Compiler(Protocol):
    """`sandbox.component.Compiler`."""

    async def compile(self, wasm: Path) -> CompiledComponent:
        """Check, compile and start once; quick when the artifact is on disk already.

        Raises BundleError with every reason, HostError when the compiler itself failed.
        """
        ...

    def artifact_path(self, digest: str) -> Path:
        """Where this engine's artifact of a component is, if it was compiled."""
        ...


class Resolver(Protocol):
    """`host.dns.Resolver`."""

    async def txt(self, name: str) -> Sequence[str]:
        """The texts that DNS has for a name; none if there is no such name. Raises Unavailable: nobody could say."""
        ...


class ActorData(Protocol):
    """`actors.erase.TenantState`: what actors of this host have stored."""

    async def erase(self, tenant: str) -> None:
        """Remove the state and the alarms of all actors of a tenant that nothing serves any more, durably.

        Waits for turns that are under way. May be called again. Raises Unavailable, StorageBroken.
        """
        ...


Spread = Callable[[Change], Awaitable[None]]
"""`supervisor.staff.Staff.spread`: tell a change to all that serve, in order, before it returns; the result is done
when all that live serve by it. Never raises.
"""


def nowhere(_change: Change) -> Awaitable[None]:
    """Of a registry that nobody serves by but itself."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
