"""`make demo`: the quick start with real processes, and a crash in the middle of it.

Starts `tenure serve` on free ports with a temporary data folder, ships `functions/account` with the CLI, runs the
quick start's curl commands, kills the host with SIGKILL, starts it again on the same data and asks for the balances.
Each command is printed as a person would type it, with its reply; every reply is compared with the documentation's.

Exit code 0 when all replies are right. Whatever happens, the host is stopped and the folder deleted.
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
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
TENURE = Path(sys.executable).with_name("tenure")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 90.0


def _post(action: str, amount: int) -> str:
    """The quick start's curl arguments for a POST, such as `_post("alice/debit", 30)`."""
    return f"-X POST $B/accounts/{action} -H 'content-type: application/json' -d '{{\"amount\":{amount}}}'"


HEALTH = "--retry 30 --retry-delay 5 --retry-connrefused $B/health/liveness"
STEPS = (
    (
        "alice deposits 100, then debits 30",
        (
            (_post("alice/deposit", 100), '{"account":"alice","balance":100}'),
            (_post("alice/debit", 30), '{"account":"alice","ok":true,"balance":70}'),
        ),
    ),
    (
        "an overdraw is rejected, the balance is unchanged",
        ((_post("alice/debit", 1000), '{"account":"alice","ok":false,"balance":70}'),),
    ),
    ("bob is an instance of his own", ((_post("bob/deposit", 5), '{"account":"bob","balance":5}'),)),
)
BALANCES = (
    ("$B/accounts/alice/balance", '{"account":"alice","balance":70}'),
    ("$B/accounts/bob/balance", '{"account":"bob","balance":5}'),
)


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Demo:
    """One run in the folder `home`. `wrong` collects the replies that are not the documentation's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "host.log"
        self.url = ""
        self.wrong: list[str] = []
        self._ports = _free_ports(2)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TENURE_")},
            "TENURE_CONFIG": str(home / "config.json"),
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    @contextlib.contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """A host process that answers. Leaving stops it, cleanly if it still runs."""
        listen, admin = (f"127.0.0.1:{port}" for port in self._ports)
        command = [str(TENURE), "serve", "--data", str(self.home / "data"), "--listen", listen, "--admin", admin]
        show("tenure serve --data data --listen " + listen + " --admin " + admin + " &")
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self._environ, cwd=self.home, stdout=log, stderr=log)
        try:
            self._wait_until_it_answers(process)
            yield process
        finally:
            self._stop(process)

    def tenure(self, *arguments: str, cwd: Path | None = None, shown: str = "") -> str:
        """Run the CLI, showing the command and what it prints. Returns stdout; raises DemoError if it fails."""
        show("tenure " + (shown or shlex.join(arguments)))
        ended = subprocess.run(
            [str(TENURE), *arguments],
            env=self._environ, cwd=cwd or self.home, text=True, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        print(ended.stdout, end="", flush=True)
        if ended.returncode != 0:
            raise DemoError(f"`tenure {shown or shlex.join(arguments)}` ended with code {ended.returncode}")
        return ended.stdout

    def curl(self, arguments: str, expected: str) -> None:
        """One curl command of the quick start, its reply shown and compared."""
        show(f"curl -sS {arguments}")
        reply = self._request(shlex.split(arguments.replace("$B", self.url)))
        print(reply, flush=True)
        if reply != expected:
            self.wrong.append(f"curl -sS {arguments}\n    expected {expected}\n    got      {reply}")

    def _request(self, arguments: list[str]) -> str:
        name, port = urlsplit(self.url).hostname or "", urlsplit(self.url).port
        if shutil.which("curl"):
            # curl knows *.localhost by itself from 7.77 on; older ones and odd resolvers are told
            command = ["curl", "-sS", "--max-time", "60", "--resolve", f"{name}:{port}:127.0.0.1", *arguments]
            ended = subprocess.run(
                command, env=self._environ, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
            )
            return ended.stdout if ended.returncode == 0 else f"curl: {ended.stderr.strip()}"
        import httpx

        method = arguments[arguments.index("-X") + 1] if "-X" in arguments else "GET"
        body = arguments[arguments.index("-d") + 1] if "-d" in arguments else None
        target = next(item for item in arguments if item.startswith(self.url))
        headers = {"host": f"{name}:{port}", **({"content-type": "application/json"} if body else {})}
        local = target.replace(self.url, f"http://127.0.0.1:{port}", 1)
        return httpx.request(method, local, content=body, headers=headers, timeout=60, trust_env=False).text

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for port in self._ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None:
                    raise DemoError(f"the host ended with code {process.returncode}\n{self._host_log()}")
                if time.monotonic() > deadline:
                    raise DemoError(f"the host did not answer within {START_TIMEOUT_S:.0f} s\n{self._host_log()}")
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
            raise DemoError(
                f"the host did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM\n{self._host_log()}"
            ) from None
        if code != 0:
            raise DemoError(f"the host stopped with code {code}\n{self._host_log()}")

    def _host_log(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def run(self) -> None:
        """The whole demo."""
        with self.serving() as host:
            self._deploy()
            say("wait for it to come up")
            self.curl(HEALTH, "ok")
            for title, commands in STEPS:
                say(title)
                for arguments, expected in commands:
                    self.curl(arguments, expected)
            say("the host dies: no warning, no time to write anything")
            pids = processes(host.pid)
            show(f"kill -9 {' '.join(map(str, pids))}")
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            host.wait()
        say("it starts again on the same data: alice is still 70, bob is 5")
        with self.serving():
            for arguments, expected in BALANCES:
                self.curl(arguments, expected)

    def _deploy(self) -> None:
        key = (self.home / "data" / "operator.key").read_text().strip()
        endpoint = f"http://127.0.0.1:{self._ports[1]}"
        shown = f'auth api-key set "$(cat data/operator.key)" --endpoint {endpoint}'
        self.tenure("auth", "api-key", "set", key, "--endpoint", endpoint, shown=shown)
        project = self._project()
        show("cd account")
        output = self.tenure("ship", cwd=project)
        found = re.search(r"^http://\S+$", output, re.MULTILINE)
        if found is None:
            raise DemoError("`tenure ship` printed no URL")
        self.url = found[0].rstrip("/")
        show(f"B={self.url}")

    def _project(self) -> Path:
        """A copy of the example, because shipping writes the function's id into the manifest."""
        source, project = REPOSITORY / "functions" / "account", self.home / "account"
        if not (source / "node_modules").is_dir():
            raise DemoError("functions/account has no node_modules; run `make setup`")
        shutil.copytree(source, project, ignore=shutil.ignore_patterns("node_modules", ".tenure"))
        (project / "node_modules").symlink_to(source / "node_modules")
        return project


def processes(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in processes(int(child)))]


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def show(command: str) -> None:
    print(f"$ {command}", flush=True)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now. They are the same for both lives of the host, so port 0 would not do."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def main() -> int:
    """Run the demo. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenure-demo-") as home:
        demo = Demo(Path(home))
        try:
            demo.run()
        except (DemoError, OSError, subprocess.TimeoutExpired) as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return 1
    if demo.wrong:
        print("\nThese replies are not what the quick start says:", *demo.wrong, sep="\n  ", file=sys.stderr)
        return 1
    print(f"\nEvery reply is as documented, and nothing was lost. {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
