"""How a process that may make no connection gets one: another makes it, and hands it over.

A worker is confined: it can neither make a socket nor connect one, because a filter of system calls cannot tell the
socket of a neighbour from that of a database, or of a service that would do anything for this user. What it needs it
asks for at its door, a socket file at which it listens; the control process comes there, connects to what it is asked
for, if that is a socket of this host, and passes the descriptor (SCM_RIGHTS). Without a control process nothing is
given, and nothing is needed: workers keep the connections that they have, and no new worker comes.

Shape: SOCK_SEQPACKET. To the control process: a number in decimal, a space, the name of a socket file in the run
folder. From it: the number with the connected socket, or the number, a space, and why there is none. What a worker
gives of its own accord comes as b"given" with descriptors.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from host.cluster.peer import bound, short_name
from host.telemetry import log

GIVEN = b"given"
MESSAGE_BYTES_MAX = 256

_MAY_BE_ASKED_FOR = re.compile(r"peer-[0-9]+-[0-9a-f]+\.sock|egress\.sock")

_log = log.get("cluster.door")


class Door:
    """The worker's side, at `path`. Made before the process is confined; `open` needs the running loop."""

    def __init__(self, path: Path) -> None:
        self._listening = bound(path, socket.SOCK_SEQPACKET)
        self._there: socket.socket | None = None
        self._asked: dict[bytes, asyncio.Future[socket.socket]] = {}
        self._last = 0

    def open(self) -> None:
        asyncio.get_running_loop().add_reader(self._listening, self._come)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        self._leave()

    async def connect(self, path: Path) -> socket.socket:
        """`cluster.peer.Dial`: a socket connected to `path`. Raises OSError, also while nobody is at the door."""
        if self._there is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "there is no control process to ask")
        self._last += 1
        number = b"%d" % self._last
        asked: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._there.send(number + b" " + path.name.encode())
            return await asked
        finally:
            self._asked.pop(number, None)

    def give(self, sockets: Sequence[socket.socket]) -> None:
        """Pass copies of these to who is at the door. Raises OSError."""
        if self._there is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody is there to take them")
        socket.send_fds(self._there, [GIVEN], [sock.fileno() for sock in sockets])

    def _come(self) -> None:
        """Another control process takes the place of the one before."""
        there, _ = self._listening.accept()
        there.setblocking(False)
        self._leave()
        self._there = there
        asyncio.get_running_loop().add_reader(there, self._read)

    def _leave(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            asyncio.get_running_loop().remove_reader(there)
            there.close()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ConnectionResetError(errno.ECONNRESET, "the control process is gone"))

    def _read(self) -> None:
        assert self._there is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._there, MESSAGE_BYTES_MAX, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._leave()
            return
        got = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptor) for descriptor in descriptors]
        number, _, why = data.partition(b" ")
        asked = self._asked.get(number)
        if asked is None or asked.done():  # who asked waits no longer
            for sock in got:
                sock.close()
        elif got:
            got[0].setblocking(False)
            asked.set_result(got[0])
        else:
            asked.set_exception(ConnectionRefusedError(errno.ECONNREFUSED, why.decode()))


class AtDoor:
    """The control process's side: at the door of one worker, from the moment this is made until `close`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when nobody listens there."""
        self._run = path.parent
        self._sock = at_door(path)
        asyncio.get_running_loop().add_reader(self._sock, self._asked)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()

    def _asked(self) -> None:
        try:
            message = self._sock.recv(MESSAGE_BYTES_MAX)
            if not message:
                self.close()
                return
            number, _, name = message.partition(b" ")
            self._answer(number, name.decode(errors="replace"))
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _answer(self, number: bytes, name: str) -> None:
        """Raises OSError when the worker is gone."""
        if not _MAY_BE_ASKED_FOR.fullmatch(name):
            _log.error("door_misused", name=name)
            self._sock.send(number + b" workers get no connection to that")
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wanted:
            wanted.setblocking(False)
            try:
                with short_name(self._run / name) as short:
                    wanted.connect(short)
            except OSError as error:
                self._sock.send(number + b" " + str(error.strerror).encode())
                return
            socket.send_fds(self._sock, [number], [wanted.fileno()])


def at_door(path: Path) -> socket.socket:
    """A socket at a worker's door. Raises OSError when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        with short_name(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock
