"""The whole host in one process: the only module that knows every room.

`run` is what `tenure serve` calls; `running` is the same host as a context manager, for `tenure dev` and the tests.
Rooms start from the bottom up and stop from the top down: the edge first stops taking requests and lets those in
flight end, what is left is cancelled, what was acknowledged is durable already, and the last thing to close is the
storage.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib.metadata
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from host.actors.alarms import Alarms
from host.actors.dead import TenantAlarms
from host.actors.directory import Directory
from host.admin.app import create_admin_app
from host.admin.services import AdminServices
from host.bindings.outbound import Outbound
from host.bindings.world import Worlds
from host.config import ServeConfig
from host.gateway.app import Gateway
from host.gateway.serve import AsgiApp, HypercornEdge, UvicornEdge, new_event_loop
from host.invoke.pool import HandlerPool
from host.model.clock import Clock, SystemClock
from host.model.errors import TenureError
from host.model.version import Version
from host.registry.first_start import OPERATOR_KEY_FILE, ensure_operator_key
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.sandbox.capi import LibraryError
from host.sandbox.component import Compiler
from host.sandbox.engine import Engine
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.blobs import BlobStore
from host.storage.commit import Committer
from host.storage.ports import OpenError
from host.storage.upgrade import open_engine
from host.telemetry import log
from host.telemetry.tail import Tails

GRACE_S = 10.0
SWITCH_INTERVAL_S = 0.0005
"""How long a busy loop may keep the interpreter's lock from the threads that sync, poll and tick."""

_log = log.get("server")


class Host:
    """A host that runs. Its attributes are the rooms; `listen_url` and `admin_url` say where it is reached."""

    def __init__(self, config: ServeConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.base_domain = config.base_domain
        self.listen_url = ""
        self.admin_url = ""
        self.operator_key = ""
        self.new_operator_key = False
        self.tails = Tails()
        self.library: Library
        self.scheduler: Scheduler
        self.committer: Committer
        self.directory: Directory
        self.handlers: HandlerPool
        self.alarms: Alarms
        self.registry: Registry
        self.publisher: Publisher
        self._started = time.monotonic()

    def function_url(self, label: str) -> str:
        """Where a function is reached, such as http://account-0198c2c58a.localhost:8787."""
        port = int(self.listen_url.rpartition(":")[2])
        return f"http://{label}.{self.base_domain}" + ("" if port == 80 else f":{port}")

    def status(self) -> Mapping[str, Any]:
        """What an operator sees of the whole host. Counts; times in seconds."""
        commits = self.committer.stats()
        return {
            "version": importlib.metadata.version("tenure"),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "functions_serving": len(self.registry.deployed()),
            "activations": self.directory.activations,
            "alarms_waiting": self.alarms.waiting,
            "handlers": {"busy": self.handlers.busy, "warm": self.handlers.warm, "waiting": self.handlers.waiting},
            "sandbox": {"stores": self.library.engine.stores, "calls": self.scheduler.calls},
            "storage": {
                "broken": self.committer.broken,
                "commits": commits.commits,
                "syncs": commits.syncs,
                "sync_ms": round(commits.sync_s * 1000, 3),
            },
        }

    async def build(self, stack: AsyncExitStack) -> None:
        """Start every room but the listeners. `stack` is told how to stop them."""
        config, clock, limits = self.config, self.clock, self.config.limits
        data = config.data_dir.absolute()
        sandbox = Engine()
        stack.callback(sandbox.close)
        self.library = Library(sandbox)
        stack.callback(self.library.close)
        storage = await asyncio.to_thread(open_engine, data)
        stack.callback(storage.close)
        self.committer = Committer(storage, clock)
        stack.push_async_callback(self.committer.close)
        self.scheduler = Scheduler(sandbox, clock)
        self.scheduler.round_end.append(self.committer.flush)
        self.registry = Registry(storage, self.committer, clock)
        await self.registry.load()
        outbound = Outbound(self.committer, config.outbound_permitted)
        stack.push_async_callback(outbound.close)
        worlds = Worlds(self.tails, outbound)
        self.directory = Directory(
            storage,
            self.committer,
            self.scheduler,
            self.library,
            clock,
            limits,
            self.registry.owner,
            worlds.of_actor,
        )
        stack.callback(self.directory.close)
        worlds.connect(self.directory)
        self.handlers = HandlerPool(self.scheduler, self.library, limits, worlds.of_handler)
        stack.callback(self.handlers.close)
        self.alarms = Alarms(self.directory)
        stack.callback(self.alarms.close)
        stack.callback(self.scheduler.close)
        self.registry.on_change(self._retire(worlds))
        blobs = await asyncio.to_thread(BlobStore, data / "blobs")
        compiler = Compiler(data / "compiled")
        self.publisher = Publisher(self.registry, blobs, compiler, _made(data / "work"))
        await self.publisher.start()
        stack.push_async_callback(self.publisher.close)
        self.new_operator_key = await ensure_operator_key(data, self.registry)
        self.operator_key = await asyncio.to_thread(_read_key, data / OPERATOR_KEY_FILE)
        self.alarms.start()

    def _retire(self, worlds: Worlds) -> Callable[[Version | None, Version | None], None]:
        def changed(old: Version | None, new: Version | None) -> None:
            if old is not None:
                self.handlers.retire(old)
                worlds.retire(old)
                if new is None or new.artifact != old.artifact:
                    self.library.retire(old.artifact)
                if new is None:
                    self.tails.forget(old.function_id)

        return changed

    def gateway(self) -> Gateway:
        """The data plane's ASGI callable."""
        registry = self.registry
        return Gateway(
            registry.route,
            self.handlers.fetch,
            self.config.base_domain,
            why_unavailable=registry.why_unavailable,
        )

    def services(self) -> AdminServices:
        """What the admin API works on."""
        return AdminServices(
            self.registry, self.publisher, self.function_url, self.status, TenantAlarms(self.directory)
        )

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open the two ports. Raises OSError when an address cannot be had."""
        config = self.config
        edge = (UvicornEdge if config.edge_server == "uvicorn" else HypercornEdge)(self.gateway(), *config.listen)
        port = await edge.start()
        stack.push_async_callback(edge.stop, GRACE_S)
        self.listen_url = f"http://{config.listen._replace(port=port)}"
        admin = HypercornEdge(cast(AsgiApp, create_admin_app(self.services())), *config.admin)
        port = await admin.start()
        stack.push_async_callback(admin.stop, GRACE_S)
        self.admin_url = f"http://{config.admin._replace(port=port)}"


@asynccontextmanager
async def running(config: ServeConfig, clock: Clock | None = None) -> AsyncIterator[Host]:
    """A host that serves until the block ends.

    Raises OpenError (the data folder), OSError (an address in use), LibraryError (another wasmtime).
    """
    async with AsyncExitStack() as stack:
        host = Host(config, clock or SystemClock())
        await host.build(stack)
        await host.listen(stack)
        yield host


async def _serve(config: ServeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(config) as host:
        _announce(host)
        gc.collect()
        gc.freeze()  # what a host is made of lives as long as it does: no collection need look at it again
        gc.set_threshold(20_000, 20, 50)
        await stop.wait()
        _log.info("stopping")


def run(config: ServeConfig) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; problems with the start are said on stderr."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(config))
    except (OpenError, LibraryError) as error:
        return _refuse(str(error))
    except TenureError as error:
        return _refuse(error.detail)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _refuse(f"{config.listen} or {config.admin} is in use: stop what listens there or name other ports")
        return _refuse(str(error))
    return 0


def _announce(host: Host) -> None:
    data, key_file = host.config.data_dir, host.config.data_dir / OPERATOR_KEY_FILE
    print(f"Functions  {host.function_url('NAME-ID')}\nAdmin API  {host.admin_url}\nData       {data}")
    if host.new_operator_key:
        print(f"A new operator key is in {key_file}. Use it: tenure auth api-key set $(cat {key_file})")
    sys.stdout.flush()


def _refuse(text: str) -> int:
    print(f"tenure: {text}", file=sys.stderr)
    return 1


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _read_key(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
