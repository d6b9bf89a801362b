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
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from host.config import ServeConfig
from host.control import Control
from host.gateway.serve import listening_socket, new_event_loop
from host.model.clock import Clock, SystemClock
from host.model.errors import TenureError
from host.registry.first_start import OPERATOR_KEY_FILE
from host.sandbox.capi import LibraryError
from host.storage.commit import Committer
from host.storage.ports import OpenError
from host.storage.upgrade import open_engine
from host.supervisor.asking import Direct
from host.telemetry import log
from host.worker import Worker

SWITCH_INTERVAL_S = 0.0005
"""How long a busy loop may keep the interpreter's lock from the threads that sync, poll and tick."""

_log = log.get("server")


class Host:
    """A control and a worker in one process: the layout of `tenure serve` with nothing between them."""

    def __init__(self, config: ServeConfig, clock: Clock) -> None:
        self.control = Control(config, clock)
        self.worker = Worker(config, clock, self.control.tails)

    async def build(self, stack: AsyncExitStack) -> None:
        """Start every room but the listeners. `stack` is told how to stop them."""
        storage = await asyncio.to_thread(open_engine, self.control.config.data_dir.absolute())
        stack.callback(storage.close)
        committer = Committer(storage, self.control.clock)
        stack.push_async_callback(committer.close)
        await self.control.build(stack, storage, committer)
        await self.worker.build(stack, storage, committer)
        await self.control.staff.join(0, Direct(self.worker.answers))
        self.worker.begin()

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open the two ports. Raises OSError when an address cannot be had."""
        listen = self.control.config.listen
        sock = listening_socket(*listen)
        self.control.listen_url = f"http://{listen._replace(port=sock.getsockname()[1])}"
        await self.worker.listen(stack, sock)
        await self.control.listen(stack)


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
        _announce(host.control)
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


def _announce(control: Control) -> None:
    data, key_file = control.config.data_dir, control.config.data_dir / OPERATOR_KEY_FILE
    print(f"Functions  {control.function_url('NAME-ID')}\nAdmin API  {control.admin_url}\nData       {data}")
    if control.new_operator_key:
        print(f"A new operator key is in {key_file}. Use it: tenure auth api-key set $(cat {key_file})")
    sys.stdout.flush()


def _refuse(text: str) -> int:
    print(f"tenure: {text}", file=sys.stderr)
    return 1
