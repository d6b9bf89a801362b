"""A worker as a process: forked, told when to begin, asked to leave. The control process decides; this obeys.

    forked -> ready (no shards) -> serving -> quiet (takes no requests) -> left (shards closed) -> ended

It listens at two socket files of its own: one for the control process, one for the other workers. A control process
that dies changes nothing here: another one may come, ask who this is, and take the listening sockets over.

Run as a program, this is the nursery from which workers are forked (`supervisor.nursery`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from host import egress_process
from host.bindings.egress import RemoteFetcher
from host.cluster.door import Door
from host.cluster.kinds import Kind
from host.cluster.link import CONTROL, Link, LinkRefused
from host.cluster.peer import Peer, bound, listen
from host.config import config_from_json
from host.confine.process import ConfineError, Needs, confine
from host.gateway.certificates import unsealed
from host.gateway.listen import new_event_loop
from host.gateway.serve import Edge
from host.model.clock import SystemClock
from host.quotas.page import open_page
from host.sandbox.capi import LibraryError, require_checked_library
from host.storage.layout import Layout
from host.storage.ports import OpenError
from host.supervisor import marks, nursery
from host.supervisor.asking import Desk
from host.supervisor.spec import EGRESS_SOCKET, Spec
from host.telemetry import log
from host.telemetry.recorder import HAND_ON_EVERY_S, Recorder
from host.worker import Worker

SWITCH_INTERVAL_S = 0.0005
"""How long a busy loop may keep the interpreter's lock from the threads that sync, poll and tick."""

ORPHAN_GRACE_S = 10.0
COVER_GRACE_S = 30.0
"""For requests of another slot that were begun here, when that slot has its own worker again."""

_POLL_S = 0.005

_log = log.get("worker")


class WorkerProcess:
    """See the module. `sockets` are the listening sockets of all slots, by slot; those for TLS, if there are any, come
    after all others. `certificates` is where these are sealed (`gateway.certificates`).
    """

    def __init__(self, spec: Spec, sockets: list[socket.socket], certificates: int | None = None) -> None:
        self._spec = spec
        self._sockets = sockets
        self._control: Link | None = None
        self._state = "ready"
        self._edges: dict[int, Edge] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._at_peers, self._at_control = bound(spec.peer_path), bound(spec.control_path)
        self._door = Door(spec.door_path)
        self._fetcher = RemoteFetcher(Peer(spec.run / EGRESS_SOCKET, spec.slot, {}, dial=self._door.connect))
        self._refusal: str | None = None
        config = config_from_json(spec.config)
        self._recorder = Recorder(SystemClock(), self._post_later, config.invocation_logs)
        self._worker = Worker(
            config,
            Layout(*spec.layout),
            SystemClock(),
            self._recorder,
            slot=spec.slot,
            workers=config.workers,
            dial=self._door.connect,
            fetcher=self._fetcher,
            marks=marks.of_slot(marks.open_marks(spec.run, config.workers), spec.slot),
            page=open_page(spec.run, config.workers),
        )
        if certificates is not None:
            self._worker.use_certificates(unsealed(certificates))

    async def run(self) -> None:
        """Until it is asked to leave."""
        spec, worker, slot = self._spec, self._worker, self._spec.slot
        async with AsyncExitStack() as stack:
            await worker.build(stack)
            self._door.open()
            stack.callback(self._door.close)
            self._fetcher.start()
            desk = Desk(
                {
                    Kind.BEGIN: self._begin,
                    Kind.PEERS: self._peers,
                    Kind.HOLD: self._hold,
                    Kind.QUIET: self._quiet,
                    Kind.LEAVE: self._leave,
                    Kind.WHO: self._who,
                    Kind.HAND_OVER: self._hand_over,
                    Kind.COVER: self._cover,
                }
            )
            stack.push_async_callback(desk.close)
            peers = await listen(self._at_peers, slot, worker.cluster.handlers)
            stack.callback(peers.close)
            answers = {**worker.answers, **desk.handlers}
            control = await listen(self._at_control, slot, answers, self._control_came, self._control_went)
            stack.callback(control.close)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminated)
            await self._over.wait()
        for path in (spec.peer_path, spec.control_path, spec.door_path):
            path.unlink(missing_ok=True)

    def confine(self) -> None:
        """Give up all that this worker does not need, before the first thread begins and before there is a loop: what
        a loop asks the kernel for by io_uring no filter would see.
        """
        worker, config, run = self._worker, self._worker.config, self._spec.run
        shards = (worker.layout.shard_folder(config.data_dir, number) for number in worker.cluster.own)
        needs = Needs(
            read=(config.compiled_dir,),
            write=tuple(shards),
            remove=(run,),
            owner=config.data_dir.stat().st_uid,
        )
        try:
            worker.confined = confine(needs, config.confine)
        except ConfineError as error:
            self._refusal = f"it cannot be confined: {error}"
            _log.error("not_confined", why=error)

    # --- what the control process says --------------------------------------------------------------------------------

    async def _begin(self, peers: dict[str, str]) -> str | None:
        """Why it cannot, or None."""
        if self._refusal is not None:
            return self._refusal
        await self._peers(peers)
        try:
            await self._worker.open_shards()
        except OpenError as error:
            return str(error)
        self._state = "serving"
        await self._accept(self._spec.slot)
        gc.freeze()  # what a worker is made of lives as long as it does: no collection need look at it
        gc.set_threshold(20_000, 20, 50)
        return None

    async def _accept(self, slot: int) -> None:
        workers = self._worker.config.workers
        plain, secure = self._sockets[:workers], self._sockets[workers:]
        edge = self._worker.edge(plain[slot].dup(), secure[slot].dup() if secure else None)
        self._edges[slot] = edge
        await edge.start()

    async def _peers(self, peers: dict[str, str]) -> None:
        for slot, path in peers.items():
            if int(slot) != self._spec.slot:
                self._worker.cluster.connect(int(slot), Path(path))

    async def _hold(self, question: tuple[int, float]) -> None:
        slot, grace_s = question
        cluster = self._worker.cluster
        cluster.hold(slot)
        await _until(lambda: not cluster.unanswered(slot), grace_s)

    async def _quiet(self, grace_s: float) -> None:
        self._state = "quiet"
        edges, self._edges = self._edges, {}
        await asyncio.gather(*(edge.stop(grace_s) for edge in edges.values()), *self._stopping)

    async def _leave(self, grace_s: float) -> None:
        for shard in self._worker.cluster.shards.values():
            shard.alarms.close()
        await _until(lambda: not self._worker.scheduler.calls, grace_s)
        self._worker.scheduler.close()
        await self._worker.cluster.close()
        self._post_noted()
        self._over.set()

    async def _who(self, _question: object) -> dict[str, Any]:
        return {"spec": self._spec.to_json(), "pid": os.getpid(), "state": self._state}

    async def _hand_over(self, _question: object) -> None:
        self._door.give(self._sockets)

    async def _cover(self, slots: list[int]) -> None:
        for slot in slots:
            if slot not in self._edges and self._state == "serving":
                await self._accept(slot)
        for slot in [slot for slot in self._edges if slot not in (*slots, self._spec.slot)]:
            stopping = asyncio.get_running_loop().create_task(self._edges.pop(slot).stop(COVER_GRACE_S))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    # --- and what it is told ------------------------------------------------------------------------------------------

    def _control_came(self, link: Link) -> None:
        if link.peer == CONTROL:
            self._control = link
            self._post_noted()

    def _control_went(self, link: Link) -> None:
        if self._control is link:
            self._control = None
            self._worker.copies.resume()  # nobody is left who would

    def _post_later(self) -> None:
        asyncio.get_running_loop().call_later(HAND_ON_EVERY_S, self._post_noted)

    def _post_noted(self) -> None:
        control = self._control
        if control is None:
            self._recorder.digest()  # it waits, within bounds, for the next one
            return
        if batch := self._recorder.batch():
            try:
                control.post(Kind.NOTED, batch)
            except LinkRefused as error:
                _log.warn("noted_lost", size=len(batch), error=error)

    def _terminated(self) -> None:
        """SIGTERM: the control process sees to a successor; without one this worker just leaves."""
        if self._control is not None:
            self._control.post(Kind.REPLACE_ME, b"")
            return
        leaving = asyncio.get_running_loop().create_task(self._leave_alone())
        leaving.add_done_callback(lambda _: self._over.set())

    async def _leave_alone(self) -> None:
        await self._quiet(ORPHAN_GRACE_S)
        await self._leave(ORPHAN_GRACE_S)


async def _until(done: Callable[[], bool], seconds: float) -> None:
    """Until `done()`, or for so long: rare enough for looking again and again."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not done() and clock() < end:  # noqa: ASYNC110  # an event would cost the calls that it waits for
        await asyncio.sleep(_POLL_S)


def _run(spec: Any, descriptors: list[int]) -> None:
    """In a new process: a worker, or the egress process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "egress" in spec:
        egress_process.run(spec["egress"], descriptors)
        return
    found = Spec.from_json(spec)
    certificates = descriptors.pop() if found.config["tls_listen"] else None
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    worker = WorkerProcess(found, sockets, certificates)
    worker.confine()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(worker.run())


def main(descriptor: int) -> int:
    """Be the nursery. Returns the exit code when the control process has gone, or when no worker may run here."""
    try:
        require_checked_library()
    except LibraryError as error:
        sys.stderr.write(f"tenure: {error.detail}\n")
        return 1
    nursery.serve(socket.socket(fileno=descriptor), _run)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
