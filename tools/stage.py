"""A stage for shows on the terminal: a host with real processes, the CLI and curl, each command printed as typed.

`tools/demo.py` and `tools/tour.py` play on it. The data folder and the CLI's settings are in a temporary folder, which
goes when the show is over; so does the host, whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
TENURE = Path(sys.executable).with_name("tenure")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 90.0


class ShowError(Exception):
    """The show cannot go on; the message says why."""


class Stage:
    """One show in the folder `home`. `wrong` collects what was not as it should be."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "host.log"
        self.wrong: list[str] = []
        self._ports = _free_ports(2)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TENURE_")},
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    @contextlib.contextmanager
    def serving(self, data: str = "data", who: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """A host process that answers. Leaving stops it, cleanly if it still runs."""
        listen, admin = (f"127.0.0.1:{port}" for port in self._ports)
        command = [str(TENURE), "serve", "--data", str(self.home / data), "--listen", listen, "--admin", admin]
        show(f"tenure serve --data {data} --listen {listen} --admin {admin} &", who)
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environ(), cwd=self.home, stdout=log, stderr=log)
        try:
            self._wait_until_it_answers(process)
            yield process
        finally:
            self._stop(process)

    def environ(self, who: str = "") -> dict[str, str]:
        """What `who` works in: each has settings of their own."""
        return {**self._environ, "TENURE_CONFIG": str(self.home / f"config{who}.json")}

    def tenure(self, *arguments: str, cwd: Path | None = None, shown: str = "", who: str = "", given: str = "") -> str:
        """Run the CLI with `given` on stdin, showing command and output. Returns stdout. Raises ShowError."""
        show("tenure " + (shown or shlex.join(arguments)), who)
        ended = subprocess.run(
            [str(TENURE), *arguments],
            env=self.environ(who), cwd=cwd or self.home, text=True, input=given, stdout=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        print(ended.stdout, end="", flush=True)
        if ended.returncode != 0:
            raise ShowError(f"`tenure {shown or shlex.join(arguments)}` ended with code {ended.returncode}")
        return ended.stdout

    def curl(self, url: str, arguments: list[str]) -> str:
        """What curl prints when it asks the function at `url`. `arguments` has the whole URL among them."""
        name, port = urlsplit(url).hostname or "", urlsplit(url).port
        if shutil.which("curl"):
            # curl knows *.localhost by itself from 7.77 on; older ones and odd resolvers are told
            command = ["curl", "-sS", "--max-time", "60", "--resolve", f"{name}:{port}:127.0.0.1", *arguments]
            ended = subprocess.run(
                command, env=self.environ(), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
            )
            return ended.stdout if ended.returncode == 0 else f"curl: {ended.stderr.strip()}"
        import httpx

        method = arguments[arguments.index("-X") + 1] if "-X" in arguments else "GET"
        body = arguments[arguments.index("-d") + 1] if "-d" in arguments else None
        target = next(item for item in arguments if item.startswith(url))
        headers = {"host": f"{name}:{port}", **({"content-type": "application/json"} if body else {})}
        local = target.replace(url, f"http://127.0.0.1:{port}", 1)
        return httpx.request(method, local, content=body, headers=headers, timeout=60, trust_env=False).text

    def ship(self, project: Path, who: str = "") -> str:
        """Ship the project. Returns the function's URL."""
        show(f"cd {project.name}", who)
        found = re.search(r"^http://\S+$", self.tenure("ship", cwd=project, who=who), re.MULTILINE)
        if found is None:
            raise ShowError("`tenure ship` printed no URL")
        return found[0].rstrip("/")

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for port in self._ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None:
                    raise ShowError(f"the host ended with code {process.returncode}\n{self._host_log()}")
                if time.monotonic() > deadline:
                    raise ShowError(f"the host did not answer within {START_TIMEOUT_S:.0f} s\n{self._host_log()}")
                time.sleep(0.05)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            return
        process.terminate()
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ShowError(
                f"the host did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM\n{self._host_log()}"
            ) from None
        if code != 0:
            raise ShowError(f"the host stopped with code {code}\n{self._host_log()}")

    def _host_log(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def project(self, name: str) -> Path:
        """A copy of an example, because shipping writes the function's id into the manifest."""
        source, project = REPOSITORY / "functions" / name, self.home / name
        if not (source / "node_modules").is_dir():
            raise ShowError(f"functions/{name} has no node_modules; run `make setup`")
        shutil.copytree(source, project, ignore=shutil.ignore_patterns("node_modules", ".tenure"))
        (project / "node_modules").symlink_to(source / "node_modules")
        return project


def processes(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in processes(int(child)))]


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def show(command: str, who: str = "") -> None:
    print(f"{who}$ {command}", flush=True)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now. They are the same for both lives of the host, so port 0 would not do."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


S = TypeVar("S", bound=Stage)


def play(stage: Callable[[Path], S], run: Callable[[S], None], ended: str) -> int:
    """The show, on a stage of its own. Prints `ended` when all was as it should be. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenure-show-") as home:
        show_ = stage(Path(home))
        try:
            run(show_)
        except (ShowError, OSError, subprocess.TimeoutExpired) as error:
            print(f"\nIt failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return 1
    if show_.wrong:
        print("\nThese are not as they should be:", *show_.wrong, sep="\n  ", file=sys.stderr)
        return 1
    print(f"\n{ended} {time.monotonic() - began:.1f} s.")
    return 0
