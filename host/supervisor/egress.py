"""The egress process as the control process sees it: started, watched, and started again when it ends.

Its listening socket is made here and stays open here, so those who connect while there is none wait in the kernel. One
that an earlier control process left behind is asked to end once a new one is there: what it had begun it ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from host.cluster.kinds import Kind
from host.cluster.link import CONTROL
from host.cluster.peer import Peer, bound
from host.supervisor import adoption
from host.supervisor.asking import ask
from host.supervisor.nursery import Born, Nursery, NurseryLost
from host.telemetry import log

PAUSE_FIRST_S, PAUSE_S_MAX = 0.1, 15.0
STEADY_S = 30.0
"""One that lived so long did not fail because of how it was started."""

_log = log.get("supervisor.egress")


class EgressHandle:
    """`spec` is what `host.egress_process.run` gets, `path` where workers reach it."""

    def __init__(self, nursery: Nursery, spec: dict[str, Any], path: Path) -> None:
        self._nursery = nursery
        self._spec = spec
        self._path = path
        self._born: Born | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._peer = Peer(path, CONTROL, {})
        self._before: Born | None = None
        self._sock: socket.socket
        self.restarts = 0

    def open(self) -> None:
        """From now on whoever connects waits for the egress process. Raises OSError."""
        self._before = adoption.listener(self._path)
        self._sock = bound(self._path)

    async def start(self) -> None:
        """Raises OSError, NurseryLost."""
        await self._fork()
        self._peer.start()
        self._do(self._keep())
        if self._before is not None:
            self._do(adoption.end(self._before))

    async def status(self) -> dict[str, Any]:
        """Raises TenureError."""
        return {**await ask(self._peer, Kind.STATUS), "restarts": self.restarts}

    async def stop(self) -> None:
        """It ends what is under way, and ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peer.close()
        if self._born is not None:
            await adoption.end(self._born)
        self._sock.close()
        self._path.unlink(missing_ok=True)

    async def _keep(self) -> None:
        """Replace it whenever it ends."""
        clock = asyncio.get_running_loop().time
        pause_s = PAUSE_FIRST_S
        while True:
            if self._born is not None:
                began = clock()
                await _ended(self._born.pidfd)
                os.close(self._born.pidfd)
                pid, self._born = self._born.pid, None
                pause_s = PAUSE_FIRST_S if clock() - began > STEADY_S else min(pause_s * 2, PAUSE_S_MAX)
                status = await self._nursery.status(pid)
                code = None if status is None else os.waitstatus_to_exitcode(status)  # below 0: killed by a signal
                _log.error("egress_ended", pid=pid, code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            try:
                await self._fork()
                self.restarts += 1
            except (NurseryLost, OSError) as error:
                _log.error("egress_not_started", error=error)

    async def _fork(self) -> None:
        self._born = await self._nursery.fork({"egress": self._spec}, [self._sock.fileno()])

    def _do(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))


async def _ended(pidfd: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(pidfd)
