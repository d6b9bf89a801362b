"""A host for one project's component, on the real sandbox: enough of a world to see the SDK work inside a guest.

Storage is a dictionary, actors are instances in a table, and a call waits for nothing but the guest. What a turn
guarantees is not shown here; the host's own tests show it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from host.model.clock import SystemClock
from host.model.limits import LIMITS, Limits
from host.model.message import HttpRequest, HttpResponse
from host.sandbox.call import NO_STORAGE, Call
from host.sandbox.component import Compiler
from host.sandbox.engine import Engine
from host.sandbox.instance import ALARM, FETCH, INVOKE, Instance
from host.sandbox.library import load
from host.sandbox.outcome import Outcome
from host.sandbox.ports import Refusal
from host.sandbox.scheduler import Scheduler

VALUE_BYTES_MAX = 1 << 20


class DictStorage:
    """`layers[0]` is the turn; a transaction is a copy of what is below it."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[int, dict[bytes, bytes]]] = {0: (0, {})}
        self.alarm: float | None = None
        self.readied = 0

    def get(self, txn: int, key: bytes) -> bytes | None:
        return self.layers[txn][1].get(key)

    def put(self, txn: int, key: bytes, value: bytes) -> None:
        if len(value) > VALUE_BYTES_MAX:
            raise Refusal("RangeError", "a value has at most 1048576 bytes")
        self.layers[txn][1][key] = value

    def delete(self, txn: int, key: bytes) -> bool:
        return self.layers[txn][1].pop(key, None) is not None

    def list(
        self, txn: int, prefix: bytes, start: bytes, end: bytes | None, reverse: bool, limit: int
    ) -> Sequence[tuple[bytes, bytes]]:
        pairs = sorted(self.layers[txn][1].items(), reverse=reverse)
        inside = [(k, v) for k, v in pairs if k.startswith(prefix) and k >= start and (end is None or k < end)]
        return inside[:limit]

    def delete_all(self, txn: int) -> None:
        self.layers[txn][1].clear()

    def begin(self, txn: int) -> int:
        number = max(self.layers) + 1
        self.layers[number] = (txn, dict(self.layers[txn][1]))
        return number

    def commit(self, txn: int) -> None:
        below, entries = self.layers.pop(txn)
        self.layers[below] = (self.layers[below][0], entries)

    def rollback(self, txn: int) -> None:
        del self.layers[txn]

    def get_alarm(self) -> float | None:
        return self.alarm

    def set_alarm(self, at_ms: float | None) -> None:
        self.alarm = at_ms

    def ready(self) -> None:
        self.readied += 1


class World:
    """What one instance reaches: other actors through the host, and a log."""

    mark = 0

    def __init__(self, host: SmallHost, actor: tuple[str, str] | None) -> None:
        self.host = host
        identity = {"type": actor[0], "name": actor[1]} if actor else None
        self.config = json.dumps(
            {
                "function": "guest",
                "actor": identity,
                "actors": [{"binding": b, "type": t} for b, t in host.bindings.items()],
                "vars": {"GREETING": "hello"},
                "secrets": {"KEY": "s3cret"},
            }
        ).encode()

    def log(self, call: Call, level: str, message: str) -> None:
        self.host.lines.append((level, message))

    def invoke(self, call: Call, operation: int, binding: bytes, name: bytes, method: bytes, arguments: bytes) -> None:
        def done(outcome: Outcome) -> None:
            self.host.trace.append(("done", name.decode(), method.decode()))
            if outcome.kind == "returned":
                call.resolve(operation, outcome.value)
            else:
                call.reject(operation, "ActorMethodError", outcome.message, outcome.name)

        self.host.trace.append(("start", name.decode(), method.decode()))
        actor = (self.host.bindings[binding.decode()], name.decode())
        self.host.start(actor, INVOKE, (method, arguments), done)

    def fetch(
        self,
        call: Call,
        operation: int,
        binding: bytes,
        name: bytes,
        method: bytes,
        url: bytes,
        headers: bytes,
        body: bytes,
        binary: bool,
    ) -> None:
        def done(outcome: Outcome) -> None:
            if outcome.response is not None:
                call.resolve_response(operation, outcome.response)
            else:
                call.reject(operation, outcome.name, outcome.message)

        actor = (self.host.bindings[binding.decode()], name.decode())
        self.host.start(actor, FETCH, (method, url, headers, body, binary), done)


class SmallHost:
    """Runs the component in `wasm`. `bindings` maps a binding to an actor type."""

    def __init__(self, engine: Engine, component: Any, bindings: dict[str, str], limits: Limits) -> None:
        self.engine, self.component, self.bindings, self.limits = engine, component, bindings, limits
        self.scheduler = Scheduler(engine, SystemClock())
        self.instances: dict[tuple[str, str] | None, Instance] = {}
        self.storages: dict[tuple[str, str], DictStorage] = {}
        self.lines: list[tuple[str, str]] = []
        self.trace: list[tuple[str, str, str]] = []
        self._tails: dict[tuple[str, str] | None, asyncio.Future[None]] = {}

    @classmethod
    async def open(cls, wasm: Path, cache: Path, bindings: dict[str, str], limits: Limits = LIMITS) -> SmallHost:
        compiled = await Compiler(cache).compile(wasm)
        engine = Engine()
        return cls(engine, load(engine, compiled.artifact), bindings, replace(limits))

    def start(self, actor: tuple[str, str] | None, export: Any, parameters: tuple[Any, ...], done: Any) -> None:
        """Queue a call behind the ones the same instance has."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before, self._tails[actor] = self._tails.get(actor), ended

        def run(_: object = None) -> None:
            instance = self.instances.get(actor)
            if instance is None or instance.closed:
                instance = Instance(self.engine, self.component, self.limits.memory_bytes_max, 100_000)
                self.instances[actor] = instance
            storage: Any = NO_STORAGE if actor is None else self.storages.setdefault(actor, DictStorage())

            def finished(_call: Call, outcome: Outcome) -> None:
                ended.set_result(None)
                done(outcome)

            world = World(self, actor)
            Call(self.scheduler, instance, "tenant", world, self.limits, 10.0, finished, storage).start(
                export, *parameters
            )

        if before is None or before.done():
            run()
        else:
            before.add_done_callback(run)

    async def outcome(self, actor: tuple[str, str] | None, export: Any, *parameters: Any) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.start(actor, export, parameters, future.set_result)
        return await asyncio.wait_for(future, 15)

    async def fetch(self, request: HttpRequest, actor: tuple[str, str] | None = None) -> HttpResponse:
        method, url, headers, body, binary = request[:5]
        outcome = await self.outcome(actor, FETCH, method.encode(), url.encode(), headers, body, binary)
        if outcome.response is None:
            raise AssertionError(outcome)
        return outcome.response

    async def invoke(self, type_: str, name: str, method: str, *arguments: Any) -> Outcome:
        return await self.outcome((type_, name), INVOKE, method.encode(), json.dumps(arguments).encode())

    async def alarm(self, type_: str, name: str, retry_count: int) -> Outcome:
        return await self.outcome((type_, name), ALARM, retry_count)

    def close(self) -> None:
        self.scheduler.close()
        for instance in self.instances.values():
            instance.close()
        self.component.release()
        self.engine.close()
