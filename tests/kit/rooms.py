"""The rooms between the edge and the disk, wired as `host.server` does, without listeners, a registry or a publisher.

So a test drives real guests over a real engine within milliseconds: with a `ManualClock` time moves only when the test
says so, with a `Disk` it decides when syncs return and what fails. What serves is a dictionary of the test's own.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from host.actors import turn
from host.actors.alarms import Alarms
from host.actors.directory import Directory
from host.actors.ports import Answer
from host.bindings.fetching import Fetcher
from host.bindings.outbound import Outbound
from host.bindings.world import Worlds
from host.invoke.pool import HandlerPool
from host.model.clock import Clock, ManualClock, SystemClock
from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS, LIMITS, HostLimits, Limits
from host.model.message import CallContext, HttpRequest, HttpResponse, body_from_wire
from host.model.version import Version
from host.sandbox.component import Compiled, Compiler
from host.sandbox.engine import Engine as Sandbox
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.commit import Committer
from host.storage.memory import MemoryEngine
from host.storage.ports import Engine, Scanned, Write
from host.telemetry.batch import decode_batch
from host.telemetry.recorder import Recorder
from tests.kit.artifacts import artifacts
from tests.kit.bundles import ROOT, component_of, manifest_of
from tests.kit.until import wait_until

GUEST = ROOT / "tests" / "guests" / "actors"
TENANT = "acme"
DEADLINE_S = 20.0

_numbers = itertools.count(1)


@functools.cache
def compiled(project: Path) -> Compiled:
    """The project's component, built and compiled once. Not to be called from a running loop."""
    compiler = Compiler(artifacts())
    return asyncio.run(compiler.compile(component_of(project)))


def version_of(project: Path = GUEST, *, tenant: str = TENANT, limits: Limits = LIMITS, **env_vars: str) -> Version:
    """A new version of the project, with `env_vars` over those of its manifest."""
    found, manifest, number = compiled(project), manifest_of(project), next(_numbers)
    merged = MappingProxyType({**manifest.env_vars, **env_vars})
    return Version(
        tenant,
        f"function-{number}",
        manifest.name,
        number,
        found.digest,
        replace(manifest, env_vars=merged),
        str(found.artifact),
        found.handler,
        found.actors,
        found.sdk,
        limits,
    )


class Disk:
    """An engine whose writes and syncs fail when a test says so, and whose syncs can be held open."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.write_error: OSError | None = None
        self.sync_error: OSError | None = None
        self.read_error: OSError | None = None
        self.syncs = 0
        self._go = threading.Event()
        self._go.set()
        self._entered = threading.Event()

    def hold(self) -> None:
        """From now on a sync does not return before `release`."""
        self._entered.clear()
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    async def at_work(self) -> None:
        """Until a sync is held."""
        await wait_until(self._entered.is_set, "a sync")

    def get(self, key: bytes) -> bytes | None:
        self._check_read()
        return self.engine.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        self._check_read()
        return self.engine.scan(start, end, reverse=reverse, limit=limit)

    def snapshot(self) -> Scanned:
        self._check_read()
        return self.engine.snapshot()

    def write(self, batch: Iterable[Write]) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.engine.write(batch)

    def sync(self) -> None:
        self._entered.set()
        if not self._go.wait(DEADLINE_S):
            raise AssertionError("a test held a sync for too long")
        if self.sync_error is not None:
            raise self.sync_error
        self.engine.sync()
        self.syncs += 1

    def close(self) -> None:
        self.engine.close()

    def _check_read(self) -> None:
        if self.read_error is not None:
            raise self.read_error


class SlowDiskClock(SystemClock):
    """Every reading is a second after the last: a committer that measures with it syncs in its thread, never trying
    the loop again. There a sync can be held open without holding the loop.
    """

    def __init__(self) -> None:
        self._readings = itertools.count()

    def monotonic(self) -> float:
        return float(next(self._readings))


BURNS_ON_S = 0.2


class Rooms:
    """The rooms, and short ways to use them as callers do. Made by `open_rooms`."""

    def __init__(self, engine: Engine, clock: Clock, limits: HostLimits, *, slow_disk: bool) -> None:
        self.engine = engine
        self.clock = clock
        self.limits = limits
        self.recorder = Recorder(clock, lambda: None)
        self.serving: dict[tuple[str, str], Version] = {}
        self.sandbox = Sandbox()
        self.library = Library(self.sandbox)
        self.committer = Committer(engine, SlowDiskClock() if slow_disk else clock)
        self.scheduler = Scheduler(self.sandbox, clock)
        self.scheduler.round_end.append(self.committer.flush)
        self.outbound = Outbound(self.committer.drain, Fetcher())
        self.worlds = Worlds(self.recorder, self.outbound)
        rooms = (engine, self.committer, self.scheduler, self.library)
        self.directory = Directory(*rooms, clock, limits, self._version_of, self.worlds.of_actor)
        self.worlds.connect(self.directory)
        self.handlers = HandlerPool(self.scheduler, self.library, limits, self.worlds.of_handler)
        self.alarms = Alarms(self.directory)

    def _version_of(self, actor: ActorId) -> Version | None:
        return self.serving.get((actor.tenant, actor.type))

    def serve(self, version: Version) -> Version:
        """Make `version` the one that serves its actor types; what served before is retired."""
        for actor_type in version.actor_types:
            old = self.serving.get((version.tenant, actor_type))
            self.serving[version.tenant, actor_type] = version
            if old is not None and old is not version:
                self.retire(old)
        return version

    def retire(self, version: Version) -> None:
        for key in [key for key, one in self.serving.items() if one is version]:
            del self.serving[key]
        self.handlers.retire(version)
        self.worlds.retire(version)
        self.library.retire(version.artifact)

    # Calls, as a stub or the edge makes them.

    def invoke(
        self,
        name: str,
        method: str,
        *arguments: Any,
        type: str = "Probe",
        tenant: str = TENANT,
        context: CallContext | None = None,
    ) -> asyncio.Future[Any]:
        """Call a method. Raises what its caller sees; `undefined` comes as {"$undefined": 0}."""
        future, reply = _reply(lambda answer: json.loads(answer))
        work = turn.invoke(method.encode(), json.dumps(arguments).encode(), context or CallContext(), reply)
        self.directory.deliver(ActorId(tenant, type, name), work)
        return future

    def run(self, name: str, *steps: list[Any], **options: Any) -> asyncio.Future[Any]:
        """Let a Probe run a script (tests/guests/actors/src/script.ts); its results."""
        return self.invoke(name, "run", list(steps), **options)

    def fetch_actor(self, name: str, *steps: list[Any]) -> asyncio.Future[Any]:
        future, reply = _reply(_json_body)
        request = HttpRequest("POST", "http://actor/", b"", json.dumps(steps).encode())
        self.directory.deliver(ActorId(TENANT, "Probe", name), turn.fetch(request, CallContext(), reply))
        return future

    def fetch(self, version: Version, *steps: list[Any]) -> asyncio.Future[HttpResponse]:
        """A request to the handler, which runs the script."""
        url = "http://actors.localhost/"
        return self.handlers.fetch(version, HttpRequest("POST", url, b"", json.dumps(steps).encode(), False, "req-1"))

    async def handle(self, version: Version, *steps: list[Any]) -> Any:
        """The script's results, run by the handler."""
        return _json_body(await asyncio.wait_for(self.fetch(version, *steps), DEADLINE_S))

    def noted(self) -> list[dict[str, Any]]:
        """The lines of all functions that were noted since this was asked last."""
        batch = self.recorder.batch()
        return [json.loads(line) for one in (decode_batch(batch).lines if batch else ()) for line in one.lines]

    # Time.

    async def quiet(self) -> None:
        """Until nothing runs: every guest has ended, waits for something outside, or burns on in the background.

        On a busy machine any guest may be moved to the background for a moment; one that has burned for long means to.
        """
        idle = 0
        while idle < 5:
            moved = any(call.cpu_s < BURNS_ON_S for call in list(self.scheduler._burner._held))
            await asyncio.sleep(0.001 if moved else 0)
            idle = 0 if moved or self.scheduler._scheduled else idle + 1

    async def advance(self, seconds: float, step_s: float | None = None) -> None:
        """Move a manual clock, in steps, letting what becomes due run in between."""
        assert isinstance(self.clock, ManualClock)
        await self.quiet()
        left = seconds
        while left > 0:
            step = min(left, step_s or seconds)
            self.clock.advance(step)
            left -= step
            await self.quiet()


@asynccontextmanager
async def open_rooms(
    engine: Engine | None = None,
    clock: Clock | None = None,
    limits: HostLimits = HOST_LIMITS,
    *,
    version: Version | None = None,
    slow_disk: bool = False,
) -> AsyncIterator[Rooms]:
    """Rooms that serve `version`, closed in the host's order. The engine is left open: it is the test's."""
    async with AsyncExitStack() as stack:
        rooms = Rooms(engine or MemoryEngine(), clock or SystemClock(), limits, slow_disk=slow_disk)
        stack.callback(rooms.sandbox.close)
        stack.callback(rooms.library.close)
        stack.push_async_callback(rooms.committer.close)
        stack.push_async_callback(rooms.outbound.close)
        stack.callback(rooms.directory.close)
        stack.callback(rooms.handlers.close)
        stack.callback(rooms.alarms.close)
        stack.callback(rooms.scheduler.close)
        if slow_disk:
            rooms.committer.write([(b"\xffkit", b"")])  # the first sync is measured on the loop
            rooms.committer.flush()
        if version is not None:
            rooms.serve(version)
        rooms.alarms.start()
        yield rooms


def _reply(read: Callable[[Any], Any]) -> tuple[asyncio.Future[Any], Callable[[Answer], None]]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def reply(answer: Answer) -> None:
        if future.cancelled():
            return
        if isinstance(answer, ActorError):
            future.set_exception(answer)
        else:
            future.set_result(read(answer))  # a second answer raises InvalidStateError

    return future, reply


def _json_body(response: HttpResponse) -> Any:
    return json.loads(body_from_wire(response.body, response.binary))
