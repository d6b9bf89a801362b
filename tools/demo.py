"""`make demo`: the quick start with real processes, and a crash in the middle of it.

Starts `tenure serve` on free ports with a temporary data folder, ships `functions/account` with the CLI, runs the
quick start's curl commands, kills the host with SIGKILL, starts it again on the same data and asks for the balances.
Each command is printed as a person would type it, with its reply; every reply is compared with the documentation's.

Exit code 0 when all replies are right. Whatever happens, the host is stopped and the folder deleted.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys

from tools.stage import Stage, play, processes, say, show


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


class Demo(Stage):
    url = ""

    def run(self) -> None:
        """The whole demo."""
        with self.serving() as host:
            self._deploy()
            say("wait for it to come up")
            self.ask(HEALTH, "ok")
            for title, commands in STEPS:
                say(title)
                for arguments, expected in commands:
                    self.ask(arguments, expected)
            say("the host dies: no warning, no time to write anything")
            pids = processes(host.pid)
            show(f"kill -9 {' '.join(map(str, pids))}")
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            host.wait()
        say("it starts again on the same data: alice is still 70, bob is 5")
        with self.serving():
            for arguments, expected in BALANCES:
                self.ask(arguments, expected)

    def ask(self, arguments: str, expected: str) -> None:
        """One curl command of the quick start, its reply shown and compared."""
        show(f"curl -sS {arguments}")
        reply = self.curl(self.url, shlex.split(arguments.replace("$B", self.url)))
        print(reply, flush=True)
        if reply != expected:
            self.wrong.append(f"curl -sS {arguments}\n    expected {expected}\n    got      {reply}")

    def _deploy(self) -> None:
        key = (self.home / "data" / "operator.key").read_text().strip()
        shown = f'auth api-key set "$(cat data/operator.key)" --endpoint {self.endpoint}'
        self.tenure("auth", "api-key", "set", key, "--endpoint", self.endpoint, shown=shown)
        self.url = self.ship(self.project("account"))
        show(f"B={self.url}")


if __name__ == "__main__":
    sys.exit(play(Demo, Demo.run, "Every reply is as documented, and nothing was lost."))
