"""The control process's own rooms: the registry, publishing, and the admin API. It never runs a guest.

Wiring, as `server`. What it knows of workers goes through `Staff`: they are told what serves and asked for what only
they know, whether they are processes or, in `tenure dev` and tests, in this one.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

from host.admin.app import create_admin_app
from host.admin.services import AdminServices
from host.cluster.kinds import Kind
from host.config import ServeConfig
from host.gateway.serve import AsgiApp, HypercornEdge, listening_socket
from host.model.clock import Clock
from host.model.ids import ActorId, host_label
from host.model.version import Version
from host.registry.departures import Departures
from host.registry.first_start import OPERATOR_KEY_FILE, ensure_operator_key
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.registry.sealing import open_key_ring
from host.sandbox.component import Compiler
from host.storage.blobs import BlobStore
from host.storage.commit import Committer
from host.storage.ports import Engine
from host.supervisor.alarms import AllAlarms, RemoteAlarms
from host.supervisor.erasing import AllActorData
from host.supervisor.staff import Staff
from host.telemetry.tail import Tails

GRACE_S = 10.0


class Control:
    """Its attributes are the rooms; `listen_url` and `admin_url` say where the host is reached."""

    def __init__(self, config: ServeConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.listen_url = ""
        self.admin_url = ""
        self.operator_key = ""
        self.new_operator_key = False
        self.tails = Tails()
        self.staff: Staff
        self.registry: Registry
        self.publisher: Publisher
        self.departures: Departures
        self._started = time.monotonic()

    async def build(self, stack: AsyncExitStack, storage: Engine, committer: Committer) -> None:
        """Start every room but the admin API's listener. `stack` is told how to stop them."""
        data = self.config.data_dir.absolute()
        self.staff = Staff(lambda: self.registry.changes())
        ring = await asyncio.to_thread(open_key_ring, data, self.config.secrets_key)
        self.registry = Registry(storage, committer, self.clock, spread=self.staff.spread, ring=ring)
        await self.registry.load()
        self.registry.on_change(self._forget_lines)
        blobs = await asyncio.to_thread(BlobStore, data / "blobs")
        compiler = Compiler(data / "compiled")
        self.publisher = Publisher(self.registry, blobs, compiler, data / "work")
        await self.publisher.start()
        stack.push_async_callback(self.publisher.close)
        self.departures = Departures(self.registry, self.publisher, AllActorData(self.staff, self._slots))
        self.departures.resume()
        stack.push_async_callback(self.departures.close)
        self.new_operator_key = await ensure_operator_key(data, self.registry)
        self.operator_key = await asyncio.to_thread(_read_key, data / OPERATOR_KEY_FILE)

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open the admin API's port. Raises OSError when the address cannot be had."""
        sock = listening_socket(*self.config.admin)
        self.admin_url = f"http://{self.config.admin._replace(port=sock.getsockname()[1])}"
        admin = HypercornEdge(self.admin_app(), sock)
        await admin.start()
        stack.push_async_callback(admin.stop, GRACE_S)

    def admin_app(self) -> AsgiApp:
        alarms = AllAlarms(self._alarm_sources, lambda actor: self._alarms_of(self._slot_of(actor)))
        services = AdminServices(self.registry, self.publisher, self.function_url, self.status, alarms, self.departures)
        return cast(AsgiApp, create_admin_app(services))

    def function_url(self, label: str) -> str:
        """Where a function is reached, such as http://account-0198c2c58a.localhost:8787."""
        port = int(self.listen_url.rpartition(":")[2])
        return f"http://{label}.{self.config.base_domain}" + ("" if port == 80 else f":{port}")

    async def status(self) -> Mapping[str, Any]:
        """What an operator sees of the whole host. Counts, summed over all workers; times in seconds."""
        answers = await self.staff.ask_all(Kind.STATUS)
        return {
            "version": importlib.metadata.version("tenure"),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "functions_serving": len(self.registry.deployed()),
            **summed(answers.values()),
        }

    def _alarms_of(self, slot: int) -> RemoteAlarms:
        ask: Callable[[Kind, Any], Awaitable[Any]] = partial(self.staff.ask, slot)
        return RemoteAlarms(ask)

    def _alarm_sources(self) -> list[RemoteAlarms]:
        return [self._alarms_of(slot) for slot in self.staff.slots]

    def _slots(self) -> list[int]:
        """All that there should be."""
        return [0]

    def _slot_of(self, _actor: ActorId) -> int:
        return 0

    def _forget_lines(self, old: Version | None, new: Version | None) -> None:
        """A function that is deleted takes its log lines with it."""
        if old is not None and new is None:
            label = host_label(old.function_name, old.function_id)
            if self.registry.why_unavailable(label) is None:
                self.tails.forget(old.function_id)


def summed(counts: Any) -> dict[str, Any]:
    """Several answers to one question about counts as one: numbers are added, flags hold if one of them does."""
    total: dict[str, Any] = {}
    for one in counts:
        for name, value in one.items():
            if isinstance(value, dict):
                total[name] = summed([total.get(name, {}), value])
            elif isinstance(value, bool):
                total[name] = total.get(name, False) or value
            else:
                total[name] = total.get(name, 0) + value
    return total


def _read_key(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
