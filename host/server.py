"""A host put together: `run` is `tenure serve`, `running` is a whole host in this process for `tenure dev` and tests.

`run` is the control process. It has the registry and the admin API, and starts, watches and stops worker processes; a
worker that is there already, because the control process before this one died, is taken over. What `running` puts into
one process are the same two halves, with one worker and nothing between them.

Both start from the bottom up and stop from the top down: the edge first stops taking requests and lets those in flight
end, what is left is cancelled, what was acknowledged is durable already, and the last thing to close is the storage.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib.metadata
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from host.cluster.kinds import Kind
from host.cluster.link import CONTROL, Handlers
from host.cluster.peer import Peer, listen
from host.config import ServeConfig, config_to_json
from host.control import GRACE_S, Control
from host.gateway.certificates import digest_of, read_pairs, sealed
from host.gateway.listen import listening_socket, new_event_loop
from host.model.address import Address
from host.model.clock import Clock, SystemClock
from host.model.errors import TenureError
from host.quotas.page import private_page
from host.registry.first_start import OPERATOR_KEY_FILE
from host.storage.ports import OpenError
from host.supervisor import adoption
from host.supervisor.adoption import Found
from host.supervisor.asking import Desk, Direct, ask
from host.supervisor.egress import EgressHandle
from host.supervisor.launch import Launched
from host.supervisor.marks import open_marks
from host.supervisor.nursery import Nursery, NurseryLost
from host.supervisor.process import StartFailed, WorkerHandle
from host.supervisor.spec import EGRESS_SOCKET, RUN_FOLDER, Spec
from host.supervisor.supervisor import Supervisor
from host.telemetry import log
from host.telemetry.recorder import HAND_ON_EVERY_S, Recorder

if TYPE_CHECKING:
    from host.worker import Worker

CONTROL_SOCKET = "control.sock"
"""In the run folder: where the control process hears `tenure serve --reload`."""

OPERATOR = -2
"""The number on a link of a command that asks the control process."""

_log = log.get("server")


class Host:
    """A control and one worker in one process: the layout of `tenure serve` with nothing between them."""

    def __init__(self, config: ServeConfig, clock: Clock) -> None:
        self.config = replace(config, workers=1)
        self.clock = clock
        self._page = private_page()
        self.control = Control(self.config, clock, self._page)
        self.worker: Worker

    async def build(self, stack: AsyncExitStack) -> None:
        """Start every room but the listeners. `stack` is told how to stop them. Raises as `running`."""
        from host.worker import Worker  # the control process, which this is not, starts without it

        control = self.control
        await control.build(stack)
        recorder = Recorder(self.clock, self._hand_on_later, self.config.invocation_logs)
        self.worker = Worker(self.config, control.layout, self.clock, recorder, page=self._page)
        stack.callback(self.hand_on)
        await self.worker.build(stack)
        way = Direct(self.worker.answers)
        await control.staff.join(way)
        control.staff.serves(0, way)
        await self.worker.open_shards()

    def hand_on(self) -> None:
        """What the worker has noted of guests is with the control from now on."""
        if batch := self.worker.recorder.batch():
            self.control.observed.take(batch)

    def _hand_on_later(self) -> None:
        asyncio.get_running_loop().call_later(HAND_ON_EVERY_S, self.hand_on)

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open the two ports. Raises OSError when an address cannot be had."""
        sock = listening_socket(*self.config.listen)
        self.control.listen_url = f"http://{self.config.listen._replace(port=sock.getsockname()[1])}"
        secure = None
        if self.config.tls_listen is not None and self.config.tls_cert is not None:
            self.worker.use_certificates(await asyncio.to_thread(read_pairs, self.config.tls_cert))
            secure = listening_socket(*self.config.tls_listen)
            self.control.tls_url = f"https://{self.config.tls_listen._replace(port=secure.getsockname()[1])}"
        edge = self.worker.edge(sock, secure)
        await edge.start()
        stack.push_async_callback(edge.stop, GRACE_S)
        await self.control.listen(stack, listening_socket(*self.config.admin))


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


class _ControlProcess:
    """What `tenure serve` is. `nursery` imports what workers need while this starts."""

    def __init__(self, config: ServeConfig, nursery: Nursery) -> None:
        self.config = config
        self.control = Control(config, SystemClock())
        self._nursery = nursery
        self._certificates: int | None = None
        self._reloads: set[asyncio.Task[int]] = set()
        self._supervisor: Supervisor

    async def start(self, stack: AsyncExitStack) -> None:
        """Raises OpenError, OSError, StartFailed, NurseryLost."""
        await self._read_certificates()
        config, control = self.config, self.control
        await control.build(stack)
        admin = listening_socket(*config.admin)
        run = config.data_dir.absolute() / RUN_FOLDER
        found = await self._left_behind(run)
        if not found:
            control.free_rows()
        sockets = await self._sockets(found)
        control.listen_url = f"http://{config.listen._replace(port=sockets[0].getsockname()[1])}"
        if config.tls_listen is not None:
            control.tls_url = f"https://{config.tls_listen._replace(port=sockets[-1].getsockname()[1])}"
        handlers: Handlers = {Kind.NOTED: control.noted}
        marks = open_marks(run, config.workers)
        rooms = (self._nursery, control.staff, handlers, marks, control.quarantine)
        supervisor = self._supervisor = Supervisor(self._spec, sockets, *rooms, config.workers, self._sealed)
        control.staff.on_silent = supervisor.silent
        control.workers = supervisor.shown
        adopted = {one.spec.slot: WorkerHandle(one.spec, one.born, control.staff, handlers) for one in found}
        spec = {"permitted": [str(network) for network in config.outbound_permitted], "confine": config.confine}
        egress = EgressHandle(self._nursery, spec, run / EGRESS_SOCKET)
        egress.open()
        stack.push_async_callback(egress.stop)
        control.egress = egress.status
        stack.push_async_callback(supervisor.stop)
        await supervisor.start(adopted)
        await egress.start()
        desk = Desk({Kind.RELOAD: lambda _question: self._reload()})
        stack.push_async_callback(desk.close)
        commands = await listen(run / CONTROL_SOCKET, CONTROL, desk.handlers)
        stack.callback(commands.close)
        await control.listen(stack, admin)

    async def _read_certificates(self) -> None:
        """Raises UsageError; then those that were read before stay."""
        if self.config.tls_cert is None:
            return
        pairs = await asyncio.to_thread(read_pairs, self.config.tls_cert)
        before, self._certificates = self._certificates, sealed(pairs)
        if before is not None:
            os.close(before)
        self.config = replace(self.config, tls_digest=digest_of(pairs))

    def _sealed(self) -> list[int]:
        return [] if self._certificates is None else [self._certificates]

    async def _reload(self) -> int:
        """Raises UsageError (a certificate), StartFailed."""
        await self._read_certificates()
        return await self._supervisor.reload()

    def hang_up(self) -> None:
        """SIGHUP: as `tenure serve --reload`, whose complaints go to the log."""
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[int]) -> None:
        self._reloads.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("not_reloaded", why=error.detail if isinstance(error, TenureError) else str(error))

    def _spec(self, slot: int, token: str) -> Spec:
        layout, version = self.control.layout, importlib.metadata.version("tenure")
        return Spec(slot, token, config_to_json(self.config), (layout.shards, layout.folder), version)

    async def _left_behind(self, run: Path) -> list[Found]:
        """The workers of a control process before this one that can go on, one of each slot at most."""
        kept: dict[int, Found] = {}
        for one in await adoption.find(run):
            fits = (one.spec.config["workers"], one.spec.layout) == (self.config.workers, tuple(self.control.layout))
            if one.state == "serving" and fits and one.spec.slot not in kept:
                kept[one.spec.slot] = one
            else:
                await adoption.end(one.born)
        return list(kept.values())

    async def _sockets(self, found: list[Found]) -> list[socket.socket]:
        """The listening sockets of all slots: those of workers that are there, if they are what is wanted now."""
        config, wanted = self.config, config_to_json(self.config)
        addresses = [config.listen, *([config.tls_listen] if config.tls_listen is not None else [])]
        for one in found:
            if all(one.spec.config.get(name) == wanted[name] for name in ("listen", "tls_listen")):
                sockets = await adoption.listening_sockets(one)
                if len(sockets) == config.workers * len(addresses):
                    return sockets
        return [sock for address in addresses for sock in _of_all_slots(address, config.workers)]


def _of_all_slots(address: Address, workers: int) -> list[socket.socket]:
    """Raises OSError."""
    with listening_socket(*address) as probe:  # alone: nobody else listens there
        port = probe.getsockname()[1]
    return [listening_socket(address.host, port, shared=True) for _ in range(workers)]


async def _serve(config: ServeConfig, nursery: Nursery) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        stack.callback(nursery.close)
        process = _ControlProcess(config, nursery)
        await process.start(stack)
        loop.add_signal_handler(signal.SIGHUP, process.hang_up)
        _announce(process.control)
        for sentence in await process.control.not_confined():
            print(f"Warning: {sentence}", file=sys.stderr)
        gc.collect()
        gc.freeze()  # what a host is made of lives as long as it does: no collection need look at it again
        await stop.wait()
        _log.info("stopping")


def run(config: ServeConfig, launched: Launched) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; problems with the start are said on stderr."""
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(config, Nursery(launched)))
    except (OpenError, StartFailed, NurseryLost) as error:
        return _refuse(str(error))
    except TenureError as error:
        return _refuse(error.detail)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _refuse(f"{config.listen} or {config.admin} is in use: stop what listens there or name other ports")
        return _refuse(str(error))
    return 0


def reload(data: Path) -> int:
    """Have the host that runs on `data` replace its workers, one by one. Returns the exit code."""
    try:
        count = asyncio.run(_reload(data.absolute() / RUN_FOLDER / CONTROL_SOCKET))
    except TenureError as error:
        return _refuse(f"No host that can do it runs on {data}: {error.detail}")
    print(f"{count} worker{'' if count == 1 else 's'} replaced")
    return 0


async def _reload(path: Path) -> int:
    peer = Peer(path, OPERATOR, {}, patience_s=1.0)
    peer.start()
    try:
        return int(await ask(peer, Kind.RELOAD))
    finally:
        await peer.close()


def _announce(control: Control) -> None:
    data, key_file = control.config.data_dir, control.config.data_dir / OPERATOR_KEY_FILE
    if control.tls_url:
        print(f"TLS        {control.tls_url}")
    if control.config.public_url:
        print(f"Listening  {control.listen_url}")
    print(f"Functions  {control.function_url('NAME-ID')}\nAdmin API  {control.admin_url}\nData       {data}")
    if control.new_operator_key:
        print(f"A new operator key is in {key_file}. Use it: tenure auth api-key set $(cat {key_file})")
    sys.stdout.flush()


def _refuse(text: str) -> int:
    print(f"tenure: {text}", file=sys.stderr)
    return 1
