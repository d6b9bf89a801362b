"""The sandbox alone, without the rooms above it: an engine, a scheduler and components made of plain JavaScript.

`component` builds a guest straight against the WIT world and compiles it, each state of its sources once. `Room` runs
calls on the test's loop, with a world that records what is asked of it and a dictionary for storage; closing it shows
that every store, future and call has gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from wasmtime import wat2wasm

from host.model.clock import Clock, SystemClock
from host.model.limits import LIMITS, Limits
from host.model.message import HttpResponse
from host.sandbox import capi
from host.sandbox.call import Call
from host.sandbox.component import Compiler
from host.sandbox.engine import Engine
from host.sandbox.instance import INVOKE, Export, Instance
from host.sandbox.library import Library
from host.sandbox.outcome import Outcome
from host.sandbox.ports import Refusal, Storage
from host.sandbox.scheduler import Scheduler
from tests.kit.artifacts import artifacts, making

ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "tests" / "guests" / "raw"
WIT = ROOT / "guest_sdk" / "wit" / "tenure.wit"
CACHE = Path(tempfile.gettempdir()) / f"tenure-raw-{os.getuid()}"
BUILD_DEADLINE_S = 120.0


def build(source: str, wit: str | None = None) -> Path:
    """The component of a JavaScript `source`; `wit` replaces the text of the world. Built once for each pair."""
    wit = WIT.read_text() if wit is None else wit
    script = RAW / "build.mjs"
    key = hashlib.sha256(f"{script.read_text()}\0{wit}\0{source}".encode()).hexdigest()[:32]
    target = CACHE / f"{key}.wasm"
    if target.is_file():
        return target
    with making(target) as missing:
        if missing:
            _build(source, wit, script, target)
    return target


def _build(source: str, wit: str, script: Path, target: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "building guests needs Node.js 20 or newer on the PATH"
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        (work / "wit").mkdir()
        (work / "wit" / "tenure.wit").write_text(wit)
        (work / "guest.js").write_text(source)
        command = [node, str(script), str(work / "wit"), str(work / "guest.js"), str(work / "guest.wasm")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_DEADLINE_S)
        assert done.returncode == 0, f"the guest does not build:\n{done.stdout}\n{done.stderr}"
        os.replace(work / "guest.wasm", target)


def probe() -> Path:
    """The component with a method for each behaviour."""
    return build((RAW / "probe.js").read_text())


async def artifact_of(wasm: Path) -> str:
    """`wasm` compiled, from the cache that all sessions share."""
    return str((await Compiler(artifacts()).compile(wasm)).artifact)


class DictStorage:
    """A turn's storage in dictionaries. `faults` maps a method's name to what it raises."""

    def __init__(self) -> None:
        self.layers: dict[int, dict[bytes, bytes]] = {0: {}}
        self.below: dict[int, int] = {}
        self.alarm: float | None = None
        self.readied = 0
        self.faults: dict[str, BaseException] = {}

    def _layer(self, name: str, txn: int) -> dict[bytes, bytes]:
        if name in self.faults:
            raise self.faults[name]
        if txn not in self.layers:
            raise ValueError(f"transaction {txn} is not open")
        return self.layers[txn]

    def get(self, txn: int, key: bytes) -> bytes | None:
        return self._layer("get", txn).get(key)

    def put(self, txn: int, key: bytes, value: bytes) -> None:
        if not value:
            raise Refusal("RangeError", "an empty value \N{SNOWMAN}")
        self._layer("put", txn)[key] = value

    def delete(self, txn: int, key: bytes) -> bool:
        return self._layer("delete", txn).pop(key, None) is not None

    def list(
        self, txn: int, prefix: bytes, start: bytes, end: bytes | None, reverse: bool, limit: int
    ) -> list[tuple[bytes, bytes]]:
        pairs = sorted(self._layer("list", txn).items(), reverse=reverse)
        return [(k, v) for k, v in pairs if k.startswith(prefix) and k >= start and (end is None or k < end)][:limit]

    def delete_all(self, txn: int) -> None:
        self._layer("delete_all", txn).clear()

    def begin(self, txn: int) -> int:
        number = max(self.layers) + 1
        self.layers[number] = dict(self._layer("begin", txn))
        self.below[number] = txn
        return number

    def commit(self, txn: int) -> None:
        self.layers[self.below.pop(txn)] = self._layer("commit", txn)
        del self.layers[txn]

    def rollback(self, txn: int) -> None:
        self._layer("rollback", txn)
        del self.layers[txn]

    def get_alarm(self) -> float | None:
        return self.alarm

    def set_alarm(self, at_ms: float | None) -> None:
        self.alarm = at_ms

    def ready(self) -> None:
        self.readied += 1


Asked = Callable[[Call, int, bytes], None]


def echo_soon(call: Call, operation: int, arguments: bytes) -> None:
    """Answers on the next turn of the loop with the first argument."""
    first = json.dumps(json.loads(arguments)[0]).encode()
    call.scheduler.loop.call_soon(call.resolve, operation, first)


class RecordingWorld:
    """Remembers what a guest asked for; `asked` answers the calls of other actors."""

    def __init__(self, asked: Asked = echo_soon) -> None:
        self.config = b'{"function":"probe"}'
        self.mark = 1
        self.lines: list[tuple[str, str]] = []
        self.operations: list[tuple[Call, int]] = []
        self.asked = asked

    def log(self, call: Call, level: str, message: str) -> None:
        self.lines.append((level, message))

    def invoke(self, call: Call, operation: int, binding: bytes, name: bytes, method: bytes, arguments: bytes) -> None:
        self.operations.append((call, operation))
        self.asked(call, operation, arguments)

    def fetch(self, call: Call, operation: int, *rest: Any) -> None:
        self.operations.append((call, operation))
        call.scheduler.loop.call_soon(call.resolve_response, operation, HttpResponse(201, b"", b"made", False))

    outbound = fetch


class Running:
    """A call under way. `outcome` is awaited; `outcomes` holds every one that was told, so that a second shows."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.call: Call

    def done(self, call: Call, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if not self.future.done():
            self.future.set_result(outcome)

    async def outcome(self, deadline_s: float = 30.0) -> Outcome:
        async with asyncio.timeout(deadline_s):
            return await self.future


class Room:
    """Runs calls of one artifact."""

    def __init__(self, artifact: str, clock: Clock | None = None) -> None:
        self.artifact = artifact
        self.engine = Engine()
        self.scheduler = Scheduler(self.engine, clock or SystemClock())
        self.library = Library(self.engine)
        self.world = RecordingWorld()
        self.storage = DictStorage()
        self.instances: list[Instance] = []

    def instance(self, limits: Limits = LIMITS) -> Instance:
        instance = self.library.instance(self.artifact, limits)
        self.instances.append(instance)
        return instance

    def start(
        self,
        method: str,
        *arguments: Any,
        limits: Limits = LIMITS,
        wall_s: float | None = None,
        tenant: str = "t",
        instance: Instance | None = None,
        storage: Storage | None = None,
        world: Any = None,
    ) -> Running:
        parameters = (method.encode(), json.dumps(arguments).encode())
        return self.begin(
            INVOKE, *parameters, limits=limits, wall_s=wall_s, tenant=tenant, instance=instance, storage=storage,
            world=world,
        )  # fmt: skip

    def begin(
        self,
        export: Export,
        *parameters: Any,
        limits: Limits = LIMITS,
        wall_s: float | None = None,
        tenant: str = "t",
        instance: Instance | None = None,
        storage: Storage | None = None,
        world: Any = None,
    ) -> Running:
        """Start `export`, on a fresh instance unless one is given."""
        running = Running()
        running.call = Call(
            self.scheduler,
            instance or self.instance(limits),
            tenant,
            world or self.world,
            limits,
            limits.method_wall_s if wall_s is None else wall_s,
            running.done,
            storage or self.storage,
        )
        running.call.start(export, *parameters)
        return running

    async def call(self, method: str, *arguments: Any, deadline_s: float = 30.0, **options: Any) -> Outcome:
        return await self.start(method, *arguments, **options).outcome(deadline_s)

    async def value(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What the method returned. AssertionError when the call ended in another way."""
        outcome = await self.call(method, *arguments, **options)
        assert outcome.kind == "returned", outcome
        return json.loads(outcome.value)

    def close(self) -> None:
        """Everything that is left must go, and nothing may be left under way after it."""
        self.scheduler.close()
        for instance in self.instances:
            instance.close()
            instance.close()
        counts = (self.engine.stores, self.engine.fibers, self.scheduler.calls)
        self.library.close()
        self.engine.close()
        assert counts == (0, 0, 0), f"(stores, fibers, calls) left: {counts}"


@asynccontextmanager
async def room(artifact: str, clock: Clock | None = None) -> AsyncIterator[Room]:
    opened = Room(artifact, clock)
    try:
        yield opened
    finally:
        opened.close()


@asynccontextmanager
async def probing(clock: Clock | None = None) -> AsyncIterator[Room]:
    """A room that runs the probe."""
    async with room(await artifact_of(probe()), clock) as opened:
        yield opened


def by_force(wasm: bytes | str, folder: Path) -> str:
    """The artifact of a component that no check has seen; text is WebAssembly text."""
    engine = Engine()
    pointer, machine_code = engine.compile(bytes(wat2wasm(wasm)) if isinstance(wasm, str) else wasm)
    capi.component_delete(pointer)
    engine.close()
    artifact = folder / f"{hashlib.sha256(machine_code).hexdigest()[:16]}.cwasm"
    artifact.write_bytes(machine_code)
    artifact.chmod(0o600)
    return str(artifact)
