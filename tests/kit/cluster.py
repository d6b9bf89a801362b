"""Workers of one host, wired as the host does but without its edge: each with its shards, a sandbox and its links.

Several may share a test's process (and its loop), each with links to the others over real sockets; or one runs as a
process of its own, `python -m tests.kit.cluster PROJECT FOLDER SLOT WORKERS SHARDS`, which can be killed and started
again. All serve one version: that of their project, with the defaults of `version_of`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from host.actors import turn
from host.bindings.fetching import Fetcher
from host.bindings.outbound import Outbound
from host.bindings.world import Worlds
from host.cluster.directory import ClusterDirectory
from host.cluster.peer import Listener, listen
from host.cluster.shard import Shard
from host.invoke.pool import HandlerPool
from host.model.clock import SystemClock
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS, MiB
from host.model.message import CallContext, HttpRequest
from host.model.version import Version
from host.sandbox.engine import Engine as Sandbox
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.layout import Layout, shard_of
from host.storage.upgrade import open_shard, prepare
from host.telemetry.recorder import Recorder
from tests.kit.bundles import ROOT
from tests.kit.rooms import DEADLINE_S, GUEST, TENANT, _json_body, _reply, version_of
from tests.kit.until import wait_until


class Worker:
    """Worker `slot` of `workers` on the data folder `data`. `directory` is the way to all actors of the host."""

    def __init__(self, data: Path, slot: int, workers: int, shards: int, version: Version) -> None:
        self.slot = slot
        self.clock = SystemClock()
        self.version = version
        self.sandbox = Sandbox()
        self.library = Library(self.sandbox)
        self.scheduler = Scheduler(self.sandbox, self.clock)
        self.directory = ClusterDirectory(slot, workers, shards, self.clock)
        self.worlds = Worlds(Recorder(self.clock, lambda: None), Outbound(self._drain, Fetcher()))
        self.worlds.connect(self.directory)
        self.handlers = HandlerPool(self.scheduler, self.library, HOST_LIMITS, self.worlds.of_handler)
        self._data, self._layout, self._workers = data, Layout(shards), workers
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Serve the shards, and be reached by the other workers."""
        for number in self.directory.own:
            engine = open_shard(self._data, self._layout, number, 8 * MiB)
            rooms = (engine, self.scheduler, self.library, self.clock, HOST_LIMITS, self._owner, self.worlds.of_actor)
            self.directory.open(Shard(number, *rooms))
        self._listener = await listen(self.path(self.slot), self.slot, self.directory.handlers)
        for slot in range(self._workers):
            if slot != self.slot:
                self.directory.connect(slot, self.path(slot))

    async def _drain(self) -> None:
        for shard in self.directory.shards.values():
            await shard.committer.drain()

    def path(self, slot: int) -> Path:
        return self._data / f"worker-{slot}.sock"

    def _owner(self, actor: ActorId) -> Version | None:
        return self.version if actor.type in self.version.actor_types else None

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.scheduler.close()
        self.handlers.close()
        await self.directory.close()
        self.library.close()
        self.sandbox.close()

    # Calls, as a stub or the edge of this worker makes them.

    def invoke(
        self, name: str, method: str, *arguments: Any, type: str = "Probe", context: CallContext | None = None
    ) -> asyncio.Future[Any]:
        """Call a method. Raises what its caller sees."""
        future, reply = _reply(json.loads)
        work = turn.invoke(method.encode(), json.dumps(arguments).encode(), context or CallContext(), reply)
        self.directory.deliver(ActorId(TENANT, type, name), work)
        return future

    def run(self, name: str, *steps: list[Any], **options: Any) -> asyncio.Future[Any]:
        """Let a Probe run a script (tests/guests/actors/src/script.ts); its results."""
        return self.invoke(name, "run", list(steps), **options)

    def fetch_actor(self, name: str, *steps: list[Any]) -> asyncio.Future[Any]:
        future, reply = _reply(_json_body)
        request = HttpRequest("POST", "http://actor/", b"", json.dumps(steps).encode())
        self.directory.deliver(ActorId(TENANT, "Probe", name), turn.fetch(request, CallContext(), reply))
        return future

    async def handle(self, *steps: list[Any]) -> Any:
        """The script's results, run by the handler."""
        request = HttpRequest("POST", "http://actors.localhost/", b"", json.dumps(steps).encode(), False, "req-1")
        return _json_body(await asyncio.wait_for(self.handlers.fetch(self.version, request), DEADLINE_S))


@asynccontextmanager
async def open_workers(
    data: Path, count: int, shards: int | None = None, *, here: int | None = None, version: Version | None = None
) -> AsyncIterator[list[Worker]]:
    """The first `here` (all) workers of `count`, in this process, with links to each other."""
    prepare(data, shards or count)
    async with AsyncExitStack() as stack:
        workers = []
        for slot in range(count if here is None else here):
            worker = Worker(data, slot, count, shards or count, version or version_of())
            stack.push_async_callback(worker.close)
            await worker.open()
            workers.append(worker)
        for worker in workers:
            for other in workers:
                if other is not worker:
                    await linked(worker, other.slot)
        yield workers


async def linked(worker: Worker, slot: int) -> None:
    """Until `worker` has a link to worker `slot`."""
    peer = worker.directory._peers[slot]
    await wait_until(lambda: peer.link is not None, f"a link to worker {slot}")


def name_on(slot: int, workers: int, prefix: str, shards: int | None = None, type: str = "Probe") -> str:
    """A name, beginning with `prefix`, of an actor that worker `slot` serves."""
    for number in range(10_000):
        name = f"{prefix}{number or ''}"
        if shard_of(ActorId(TENANT, type, name), shards or workers) % workers == slot:
            return name
    raise AssertionError("no such name")


class WorkerProcess:
    """A worker as a process of its own."""

    def __init__(self, data: Path, slot: int, workers: int, shards: int, project: Path = GUEST) -> None:
        numbers = map(str, (slot, workers, shards))
        self._command = [sys.executable, "-m", "tests.kit.cluster", str(project), str(data), *numbers]
        self._process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        """Until it serves."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the worker did not start"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and go on."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


async def _serve(version: Version, data: Path, slot: int, workers: int, shards: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    worker = Worker(data, slot, workers, shards, version)
    await worker.open()
    print("ready", flush=True)
    await stopped.wait()
    await worker.close()


if __name__ == "__main__":
    served = version_of(Path(sys.argv[1]))
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(served, Path(sys.argv[2]), *map(int, sys.argv[3:])))
