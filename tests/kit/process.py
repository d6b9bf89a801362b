"""A real host: `tenure serve` as a process of its own, that can be killed and started again on the same data."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from host.cluster.peer import short_name
from tests.kit.admin import Admin

_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 20.0
_PAUSE_S = 0.005

_direct = build_opener(ProxyHandler({}))


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """`pid` and all processes below it, children after parents."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                parent = int(stat[stat.rindex(")") + 2 :].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def left_behind(data: Path) -> list[int]:
    """The workers that listen in the run folder of `data`, whoever their parent is by now."""
    found = []
    for path in (data / "run").glob("worker-*.sock"):
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there,
            short_name(path) as name,
        ):
            there.connect(name)
            found.append(struct.unpack("3i", there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    return found


def server_of(connection: int, port: int, pids: Iterable[int]) -> int:
    """Which of these processes has the other end of a loopback connection, whose own port is `connection`."""
    ends = (f"0100007F:{port:04X}", f"0100007F:{connection:04X}")
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inode = next(row[9] for row in rows if (row[1], row[2]) == ends)
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) == f"socket:[{inode}]":
                    return pid
    raise AssertionError(f"none of these processes has the connection of port {connection}")


def _kill(pids: Iterable[int]) -> None:
    """SIGKILL to each, in this order, and wait until all are gone."""
    pids = list(pids)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _STOP_DEADLINE_S
    while any(_lives(pid) for pid in pids):
        if time.monotonic() > end:
            raise AssertionError(f"some of {pids} do not end")
        time.sleep(_PAUSE_S)


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


class HostProcess:
    """`tenure serve` on `data`. Ports are chosen once, so that a restarted host is found where it was.

    `flags` go to `tenure serve`, the next time it is started; `wrapper` is a command that runs it, such as strace.
    """

    def __init__(self, data: Path, *, flags: Sequence[str] = (), wrapper: Sequence[str] = ()) -> None:
        self.data = data
        self.port, self.admin_port = free_port(), free_port()
        self.log = data.parent / f"{data.name}.log"
        self.flags = flags
        self._command = [
            *wrapper, str(Path(sys.executable).with_name("tenure")), "serve", "--data", str(data),
            "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the host is not running"
        return self._process.pid

    @property
    def key(self) -> str:
        return (self.data / "operator.key").read_text().strip()

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def admin(self, key: str = "") -> Admin:
        """A client of its admin API, the operator's if no key is given."""
        return Admin(self.admin_url, key or self.key, self.data / "compiled")

    def start(self) -> float:
        """Start and wait until the admin API answers. Returns the seconds it took."""
        began = time.monotonic()
        self.launch()
        while not self._answers():
            self.check()
            if time.monotonic() - began > _START_DEADLINE_S:
                self.kill()
                raise AssertionError(f"the host does not answer:\n{self.log_tail()}")
            time.sleep(_PAUSE_S)
        return time.monotonic() - began

    def launch(self) -> None:
        """Start without waiting for anything."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises AssertionError, with the end of its log, when the host is not running."""
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the host is not running:\n{self.log_tail()}")

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the host and everything below it, and wait until they are gone."""
        pids = tree(self._process.pid) if self._process is not None else []
        _kill(pids)
        if self._process is not None:
            self._process.wait()
            self._process = None
        _kill(left_behind(self.data))

    def kill_control(self) -> None:
        """SIGKILL to the control process alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def workers(self) -> dict[int, int]:
        """The process of each slot that has one, as the admin API tells."""
        return {shown["slot"]: shown["pid"] for shown in self.status()["workers"] if shown["pid"] is not None}

    def status(self) -> dict[str, Any]:
        """Raises OSError when the admin API does not answer."""
        headers = {"authorization": f"Bearer {self.key}"}
        with _direct.open(Request(f"{self.admin_url}/v1/status", headers=headers), timeout=5) as reply:
            status: dict[str, Any] = json.load(reply)
            return status

    def stop(self) -> int:
        """SIGTERM, as a supervisor would. Returns the exit code; kills a host that does not end."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the host did not stop:\n{self.log_tail()}") from None
        finally:
            self._process = None

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except OSError:
            return False
