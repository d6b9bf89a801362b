"""A process from which workers are forked, so that one that died is back in milliseconds.

Importing what a worker needs takes most of a second. The nursery does it once, starts no thread, and then forks a
worker for each request of the control process. Its workers share the memory of what was imported. It ends when the
control process does; its workers do not.

Shape: both ends of a SOCK_SEQPACKET pair, one JSON object a message. To the nursery: {"number", "spec"}, with the
descriptors that the worker inherits. From it: {"number", "pid"} with a pidfd of the new process, and {"pid", "status"}
(as waitpid has it) for each one that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from host.supervisor.launch import Launched, launch
from host.telemetry import log

MESSAGE_BYTES_MAX = 1 << 16
DESCRIPTORS_MAX = 250
"""The kernel passes 253 with one message."""

_ENDED_KEPT = 1_000
_STATUS_LOOKS, _STATUS_PAUSE_S = 10, 0.001

_log = log.get("supervisor.nursery")

Child = Callable[[Any, list[int]], None]
"""(spec, descriptors): what a new worker does, to its end."""


class NurseryLost(Exception):
    """It ended before it had forked."""


class Born(NamedTuple):
    """A new process, and a descriptor that stands for it alone: readable when it has ended, safe to signal."""

    pid: int
    pidfd: int


# --- the nursery's own process ----------------------------------------------------------------------------------------


def serve(sock: socket.socket, child: Child) -> None:
    """Fork a process for each request until the control process closes its end. `child` runs in the new ones only, from
    which this does not return.
    """
    awake, waker = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()  # a collection in a worker would copy the pages it looks at
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(awake, select.POLLIN)
    with contextlib.suppress(ConnectionError):
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == awake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(awake, 4096)
                    _report_ended(sock)
                else:
                    data, inherited, _, _ = socket.recv_fds(sock, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
                    if not data:
                        return
                    _fork(sock, json.loads(data), inherited, child, (awake, waker))


def _report_ended(sock: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            sock.send(json.dumps({"pid": pid, "status": status}).encode())


def _fork(sock: socket.socket, request: Any, inherited: list[int], child: Child, own: Sequence[int]) -> None:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sock.close()
            for descriptor in own:
                os.close(descriptor)
            child(request["spec"], inherited)
            status = 0
        except BaseException as error:
            _log.exception("worker_failed", error)
        finally:
            os._exit(status)
    for descriptor in inherited:
        os.close(descriptor)
    pidfd = os.pidfd_open(pid)  # it cannot be another's: it is not waited for yet
    socket.send_fds(sock, [json.dumps({"number": request["number"], "pid": pid}).encode()], [pidfd])
    os.close(pidfd)


# --- the control process's side ---------------------------------------------------------------------------------------


class Nursery:
    """That was `launched` early, so that it imports while the control process starts; `fork` needs the running loop."""

    def __init__(self, launched: Launched) -> None:
        self._launched = launched
        self._waiting: OrderedDict[int, asyncio.Future[Born]] = OrderedDict()
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._last = 0
        self._listening = False

    async def fork(self, spec: Any, descriptors: Sequence[int]) -> Born:
        """A new worker, which inherits copies of `descriptors`. Raises NurseryLost, OSError."""
        if self._launched.process.poll() is not None:
            _log.error("nursery_lost", status=self._launched.process.returncode)
            self._unlisten()
            self._launched = launch(self._launched.module)
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._launched.sock, self._read)
            self._listening = True
        self._last += 1
        born: asyncio.Future[Born] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = born
        message = json.dumps({"number": self._last, "spec": spec}).encode()
        try:
            socket.send_fds(self._launched.sock, [message], descriptors)
        except OSError as error:
            del self._waiting[self._last]
            raise NurseryLost(f"it cannot be asked: {error.strerror}") from error
        return await born

    async def status(self, pid: int) -> int | None:
        """How a process ended, as waitpid has it, if that is known: word of it comes a moment after the end itself."""
        for _ in range(_STATUS_LOOKS):
            if pid in self._ended:
                break
            await asyncio.sleep(_STATUS_PAUSE_S)
        return self._ended.pop(pid, None)

    def close(self) -> None:
        """The nursery ends; its workers do not."""
        self._unlisten()
        self._launched.process.wait()

    def _unlisten(self) -> None:
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._launched.sock)
            self._listening = False
        self._launched.sock.close()
        waiting, self._waiting = self._waiting, OrderedDict()
        for born in waiting.values():
            if not born.done():
                born.set_exception(NurseryLost("the nursery is gone"))

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._launched.sock, MESSAGE_BYTES_MAX, 1)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._launched.process.wait()
            self._unlisten()
            return
        message = json.loads(data)
        if "number" in message:
            born = self._waiting.pop(message["number"])
            if not born.done():
                born.set_result(Born(message["pid"], descriptors[0]))
            return
        self._ended[message["pid"]] = message["status"]
        if len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)
