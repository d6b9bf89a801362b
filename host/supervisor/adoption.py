"""Workers that a control process before this one left behind: found by their socket files, and taken over.

They go on serving without one. What they hand over is the listening sockets, in whose queues connections may wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Any, NamedTuple

from host.cluster.door import MESSAGE_BYTES_MAX, at_door
from host.cluster.kinds import Kind
from host.cluster.link import VISITOR
from host.cluster.peer import Peer, short_name
from host.model.errors import TenureError
from host.supervisor.asking import ask
from host.supervisor.nursery import DESCRIPTORS_MAX, Born
from host.supervisor.spec import Spec
from host.telemetry import log

ANSWER_S = 2.0
LEAVE_S = 20.0

_CREDENTIALS = struct.Struct("3i")

_log = log.get("supervisor.adoption")


class Found(NamedTuple):
    """A worker that answers. `state` is what it says of itself: ready, serving or quiet."""

    spec: Spec
    born: Born
    state: str


async def find(run: Path) -> list[Found]:
    """The workers in this run folder, which is made if it is not there. Socket files of dead ones are removed; those
    that do not answer are ended. Raises OSError.
    """
    found = await asyncio.gather(*(_look(path) for path in await asyncio.to_thread(_socket_files, run)))
    return [one for one in found if one is not None]


def _socket_files(run: Path) -> list[Path]:
    run.mkdir(mode=0o700, exist_ok=True)
    return sorted(run.glob("worker-*.sock"))


async def _look(path: Path) -> Found | None:
    born = listener(path)
    if born is None:
        _remove_sockets(path)
        return None
    answer = await _said_by(born, path)
    if answer is None:
        _log.warn("worker_strange", pid=born.pid, socket=path.name)
        await end(born)
        _remove_sockets(path)
        return None
    return Found(Spec.from_json(answer["spec"]), born, answer["state"])


def _remove_sockets(path: Path) -> None:
    for kind in ("worker-", "peer-", "door-"):
        path.with_name(path.name.replace("worker-", kind, 1)).unlink(missing_ok=True)


async def _said_by(born: Born, path: Path) -> Any:
    """What it says of itself; None if it does not. One that was killed listens on while its memory is taken from it, a
    second for some gigabytes: nobody waits for it longer than until it has ended.
    """
    asked = asyncio.ensure_future(_answer(path, Kind.WHO, None))
    loop = asyncio.get_running_loop()
    loop.add_reader(born.pidfd, asked.cancel)
    try:
        await asyncio.wait([asked])
        return None if asked.cancelled() else asked.result()
    finally:
        loop.remove_reader(born.pidfd)
        asked.cancel()


def listener(path: Path) -> Born | None:
    """The process that listens at `path`, if there is one."""
    try:
        pid = _listener_of(path)
        return Born(pid, os.pidfd_open(pid))
    except OSError:
        return None


def _listener_of(path: Path) -> int:
    """The process that listens at `path`. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there, short_name(path) as name:
        there.connect(name)
        pid, _, _ = _CREDENTIALS.unpack(there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return int(pid)


async def _answer(path: Path, kind: Kind, question: Any) -> Any:
    """None if there is none."""
    peer = Peer(path, VISITOR, {})
    peer.start()
    try:
        async with asyncio.timeout(ANSWER_S):
            return await ask(peer, kind, question)
    except (TenureError, TimeoutError):
        return None
    finally:
        await peer.close()


async def end(worker: Born) -> None:
    """Ask it to leave; kill it when it does not. Its descriptor is closed."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(worker.pidfd, ended.set)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker.pidfd, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await ended.wait()
                    return
    finally:
        loop.remove_reader(worker.pidfd)
        os.close(worker.pidfd)


async def listening_sockets(worker: Found) -> list[socket.socket]:
    """Those of all slots, which every worker has. Empty when it does not give them."""
    try:
        with at_door(worker.spec.door_path) as door:
            await _answer(worker.spec.control_path, Kind.HAND_OVER, None)
            _, descriptors, _, _ = socket.recv_fds(door, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
    except OSError as error:
        _log.warn("sockets_not_handed_over", slot=worker.spec.slot, error=error)
        return []
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
