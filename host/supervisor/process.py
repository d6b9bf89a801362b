"""One worker process, as the control process sees it: alive or ended, and asked over a link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from host.cluster.door import AtDoor
from host.cluster.kinds import Kind
from host.cluster.link import CONTROL, Handlers, Link, LinkError
from host.cluster.peer import Peer
from host.supervisor.asking import ask
from host.supervisor.nursery import Born
from host.supervisor.spec import Spec
from host.supervisor.staff import Staff
from host.telemetry import log

JOIN_S = 20.0

_log = log.get("supervisor.process")


class StartFailed(Exception):
    """A worker did not come to serve. The text is for the operator."""


class WorkerHandle:
    """It is watched and called from the moment this is made until `close`. Everything runs on the loop.

    Whenever its link opens it follows what serves (`joined` is set once it does).
    """

    def __init__(self, spec: Spec, born: Born, staff: Staff, handlers: Handlers) -> None:
        self.spec = spec
        self.pid = born.pid
        self.ended = asyncio.Event()
        self.joined = asyncio.Event()
        self._pidfd = born.pidfd
        self._staff = staff
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._door: AtDoor | None = None
        asyncio.get_running_loop().add_reader(born.pidfd, self._end)
        self._peer = Peer(spec.control_path, CONTROL, handlers, self._opened, self._lost)
        self._peer.start()

    async def ready(self) -> None:
        """Until it follows what serves. Raises StartFailed."""
        await first(self.joined, self.ended, JOIN_S)
        if not self.joined.is_set():
            raise StartFailed(
                "it ended while it started" if self.ended.is_set() else f"it said nothing for {JOIN_S:g} s"
            )

    async def ask(self, kind: Kind, question: Any = None) -> Any:
        """Raises TenureError, and so does it when the process has ended."""
        return await ask(self._peer, kind, question)

    def serves(self) -> None:
        """It is the one to ask for what its slot knows."""
        if self._link is not None:
            self._staff.serves(self.spec.slot, self._link)

    def is_reached_by(self, way: object) -> bool:
        return way is self._link

    def signal(self, number: signal.Signals) -> None:
        """Does nothing when the process has ended."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def end(self, grace_s: float) -> None:
        """Wait until it has ended; after `grace_s` it is killed."""
        try:
            async with asyncio.timeout(grace_s):
                await self.ended.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.ended.wait()

    async def close(self) -> None:
        """Look after it no longer; if it is alive it stays so."""
        await self._peer.close()
        if self._door is not None:
            self._door.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self.ended.set()

    def _opened(self, link: Link) -> None:
        self._link = link
        try:
            self._door = AtDoor(self.spec.door_path)
        except OSError as error:
            _log.error("door_not_reached", slot=self.spec.slot, error=error)
        task = asyncio.get_running_loop().create_task(self._join(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, link: Link) -> None:
        with contextlib.suppress(LinkError):
            await self._staff.join(link)
            self.joined.set()

    def _lost(self, link: Link) -> None:
        self._link = None
        if self._door is not None:
            self._door.close()
            self._door = None
        self._staff.leave(link)


async def first(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> None:
    """Until one of two events is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
