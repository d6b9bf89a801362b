"""What is measured: a host that is started afresh, answers the account and hello requests, and can be killed.

Both run the same two programs: `functions/account` and `functions/hello` here, `workerd/worker.js` there.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

from tests.kit.process import HostProcess, free_port, tree

ROOT = Path(__file__).resolve().parents[2]
WORKERD = Path(__file__).with_name("workerd")
ACTIVATIONS_MAX, IDLE_S = 100_000, 3_600
"""Nothing leaves memory while it is measured: workerd, which is measured beside it, keeps what was touched too."""

_DEADLINE_S = 60.0


class Subject(Protocol):
    """A host under measurement. The `..._host` are Host headers; `touch_s` bounds the first touches."""

    name: str
    touch_s: float
    address: str
    account_host: str
    hello_host: str
    hello_path: str

    @property
    def pid(self) -> int: ...
    def activated(self) -> int | None:
        """Actors in memory, where the host tells."""

    def start(self) -> None:
        """Start on an empty data folder, ready for requests."""

    def kill(self) -> None:
        """SIGKILL, everything below it included."""

    def launch(self) -> None:
        """Start again on the same data, without waiting."""


class Tenure:
    name = "tenure"
    hello_path = "/"

    def __init__(self, folder: Path, touch_s: float, workers: int | None = None) -> None:
        """`workers`: processes that run guests; as many as the host itself decides if None."""
        self.touch_s = touch_s
        flags = ["--max-activations", str(ACTIVATIONS_MAX), "--activation-idle-seconds", str(IDLE_S)]
        if workers is not None:
            flags += ["--workers", str(workers)]
        self._host = HostProcess(folder / "tenure", flags=flags)
        self.address = f"127.0.0.1:{self._host.port}"
        self.account_host = self.hello_host = ""

    @property
    def pid(self) -> int:
        return self._host.pid

    def activated(self) -> int | None:
        return int(self._host.status()["activations"])

    def start(self) -> None:
        self._host.start()
        asyncio.run(self._ship())

    async def _ship(self) -> None:
        async with self._host.admin() as admin:
            self.account_host = (await admin.ship(ROOT / "functions" / "account")).host
            self.hello_host = (await admin.ship(ROOT / "functions" / "hello")).host

    def kill(self) -> None:
        self._host.kill()

    def launch(self) -> None:
        self._host.launch()


class Workerd:
    name = "workerd"
    hello_path = "/hello"
    account_host = hello_host = "account.localhost"

    def __init__(self, folder: Path, touch_s: float) -> None:
        self.touch_s = touch_s
        self._data = folder / "workerd"
        self._log = folder / "workerd.log"
        self.address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def activated(self) -> int | None:
        return None

    def start(self) -> None:
        install_workerd()
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        self.launch()
        wait_for(self, "GET", self.hello_path, self.hello_host)

    def launch(self) -> None:
        command = [
            str(WORKERD / "node_modules" / ".bin" / "workerd"), "serve", str(WORKERD / "config.capnp"),
            "--socket-addr", f"http={self.address}", "--directory-path", f"objects={self._data}",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        if self._process is None:
            return
        for pid in tree(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def install_workerd() -> None:
    """The npm package, once. Its version is pinned exactly, and it pins that of its binary. Raises RuntimeError."""
    if (WORKERD / "node_modules" / ".bin" / "workerd").exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("comparing with workerd needs npm; or run with --only tenure")
    command = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=WORKERD).returncode != 0:
        raise RuntimeError("npm could not install workerd; run with --only tenure to measure without it")


def ask(subject: Subject, method: str, path: str, host: str, body: str = "") -> tuple[int, bytes]:
    """One request on a connection of its own. Raises OSError or http.client.HTTPException."""
    name, _, port = subject.address.partition(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=10)
    try:
        headers = {"host": host, **({"content-type": "application/json"} if body else {})}
        connection.request(method, path, body=body or None, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(subject: Subject, method: str, path: str, host: str, body: str = "") -> tuple[float, bytes]:
    """Ask until the reply is 200. Returns (seconds it took, body)."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, reply = ask(subject, method, path, host, body)
            if status == 200:
                return time.monotonic() - began, reply
        if time.monotonic() - began > _DEADLINE_S:
            raise RuntimeError(f"{subject.name} did not answer {method} {path} with 200 in {_DEADLINE_S:g} s")
        time.sleep(0.002)
