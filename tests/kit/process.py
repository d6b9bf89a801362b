"""A real host: `tenure serve` as a process of its own, that can be killed and started again on the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

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


class HostProcess:
    """`tenure serve` on `data`. Ports are chosen once, so that a restarted host is found where it was.

    `flags` go to `tenure serve`; `wrapper` is a command that runs it, such as strace.
    """

    def __init__(self, data: Path, *, flags: Sequence[str] = (), wrapper: Sequence[str] = ()) -> None:
        self.data = data
        self.port, self.admin_port = free_port(), free_port()
        self.log = data.parent / f"{data.name}.log"
        self._command = [
            *wrapper, str(Path(sys.executable).with_name("tenure")), "serve", "--data", str(data),
            "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}", *flags,
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

    def admin(self) -> Admin:
        return Admin(self.admin_url, self.key)

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
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        """Raises AssertionError, with the end of its log, when the host is not running."""
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the host is not running:\n{self.log_tail()}")

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the host and everything below it, and wait until they are gone."""
        if self._process is None:
            return
        for pid in tree(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

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
            headers = {"authorization": f"Bearer {self.key}"}
            with _direct.open(Request(f"{self.admin_url}/v1/status", headers=headers), timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False
