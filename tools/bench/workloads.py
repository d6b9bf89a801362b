"""One repetition of all workloads on one subject, with the books kept.

Every deposit is of 1, so the balances must add up to the deposits acknowledged. A deposit whose reply never came may or
may not have happened; it widens the allowed range by one.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tools.bench.load import Load, LoadGenerator, Target
from tools.bench.memory import memory_of
from tools.bench.subjects import Subject, ask, wait_for

ACCOUNTS = 1_000
CONNECTIONS = 64
RATES = (
    ("hello", "hello, 64 connections"),
    ("deposits", "deposits, 64 connections, 1,000 accounts"),
    ("reads", "balance reads, 64 connections, 1,000 accounts"),
    ("hot_1", "one account, deposits, 1 connection"),
    ("hot_64", "one account, deposits, 64 connections"),
    ("touch", "first touch of accounts, 64 connections"),
)


class WrongAnswer(Exception):
    """A host answered wrongly, or its books do not balance: its figures mean nothing."""


@dataclass(frozen=True)
class Plan:
    """How much of everything: `seconds` for each timed load, `touches` accounts for the first touches."""

    seconds: float
    warm_up_s: float
    touches: int
    settle_s: float


class Repetition:
    """Runs on a subject that was just started. `figures` is filled as it goes."""

    def __init__(self, subject: Subject, generator: LoadGenerator, plan: Plan, say: Callable[[str], None]) -> None:
        self._subject, self._generator, self._plan, self._say = subject, generator, plan, say
        self._acknowledged = self._sent = 0
        self.figures: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        self._memory("memory_idle")
        self._hello()
        self._accounts()
        self._check_books()
        self._touch()
        self._restart()
        self._check_books()
        return self.figures

    def _hello(self) -> None:
        subject = self._subject
        _, body = wait_for(subject, "GET", subject.hello_path, subject.hello_host)
        target = Target(subject.address, subject.hello_host, subject.hello_path, body.decode())
        self._load(target, self._plan.warm_up_s, connections=CONNECTIONS)
        self._rate("hello", self._load(target, self._plan.seconds, connections=CONNECTIONS))

    def _accounts(self) -> None:
        deposit, plan = self._account("POST", "deposit", '{"amount":1}'), self._plan
        wide: dict[str, Any] = {"connections": CONNECTIONS, "keys": ACCOUNTS, "prefix": "a"}
        self._book(self._load(deposit, 120, requests=ACCOUNTS, **wide))
        self._book(self._load(deposit, plan.warm_up_s, random=True, **wide))
        self._rate("deposits", self._book(self._load(deposit, plan.seconds, random=True, seed=2, **wide)))
        self._rate("reads", self._load(self._account("GET", "balance"), plan.seconds, random=True, seed=3, **wide))
        hot: dict[str, Any] = {"keys": 1, "prefix": "hot"}
        self._book(self._load(deposit, plan.warm_up_s, connections=1, **hot))
        self._rate("hot_1", self._book(self._load(deposit, plan.seconds, connections=1, **hot)))
        self._rate("hot_64", self._book(self._load(deposit, plan.seconds, connections=CONNECTIONS, **hot)))

    def _touch(self) -> None:
        touches = self._plan.touches
        deposit = self._account("POST", "deposit", '{"amount":1}')
        load = self._load(
            deposit, self._subject.touch_s, connections=CONNECTIONS, requests=touches, keys=touches, prefix="t"
        )
        self._rate("touch", load)
        self._memory("memory_touched")
        time.sleep(self._plan.settle_s)
        self._memory("memory_settled")

    def _restart(self) -> None:
        subject = self._subject
        before = self._balance("hot0")
        subject.kill()
        began = time.monotonic()
        subject.launch()
        _, reply = wait_for(subject, "POST", "/accounts/hot0/deposit", subject.account_host, '{"amount":1}')
        seconds = time.monotonic() - began
        if json.loads(reply) != {"account": "hot0", "balance": before + 1}:
            raise WrongAnswer(f"{subject.name} had {before} before the restart and answered {reply!r} after it")
        self._acknowledged += 1
        self._sent += 1
        self.figures["restart_s"] = seconds
        self._say(f"restart to the first durable reply: {seconds:.2f} s")

    def _check_books(self) -> None:
        total = self._sum_of_balances()
        if not self._acknowledged <= total <= self._sent:
            raise WrongAnswer(
                f"{self._subject.name} acknowledged {self._acknowledged} deposits of {self._sent} sent, "
                f"but its balances add up to {total}"
            )
        self.figures["books"] = {"acknowledged": self._acknowledged, "sent": self._sent, "balances": total}
        self._say(f"books: {self._acknowledged} deposits acknowledged, balances add up to {total}")

    def _sum_of_balances(self) -> int:
        name, _, port = self._subject.address.partition(":")
        connection = http.client.HTTPConnection(name, int(port), timeout=30)
        total = 0
        for key in [*(f"a{number}" for number in range(ACCOUNTS)), "hot0"]:
            connection.request("GET", f"/accounts/{key}/balance", headers={"host": self._subject.account_host})
            total += int(json.loads(connection.getresponse().read())["balance"])
        connection.close()
        return total

    def _balance(self, key: str) -> int:
        _, reply = ask(self._subject, "GET", f"/accounts/{key}/balance", self._subject.account_host)
        return int(json.loads(reply)["balance"])

    def _account(self, method: str, action: str, body: str = "") -> Target:
        path = f"/accounts/{{key}}/{action}"
        expected = '{"account":"{key}","balance":{number}}'
        return Target(self._subject.address, self._subject.account_host, path, expected, method, body)

    def _load(self, target: Target, seconds: float, **arguments: Any) -> Load:
        load = self._generator.run(target, seconds=seconds, **arguments)
        if load.bad:
            raise WrongAnswer(f"{self._subject.name}: {load.bad} wrong replies, the first: {load.first_bad}")
        if load.failures:
            raise WrongAnswer(f"{self._subject.name}: {load.lost} connections lost, {load.unanswered} unanswered")
        return load

    def _book(self, load: Load) -> Load:
        self._acknowledged += load.good
        self._sent += load.sent
        return load

    def _rate(self, name: str, load: Load) -> None:
        self.figures[name] = asdict(load)
        self._say(
            f"{dict(RATES)[name]}: {load.requests_per_s:,.0f} requests/s, "
            f"p50 {load.p50_us / 1000:.2f} ms, p99 {load.p99_us / 1000:.2f} ms ({load.good:,} replies)"
        )

    def _memory(self, name: str) -> None:
        memory = memory_of(self._subject.pid)
        self.figures[name] = asdict(memory)
        activated = self._subject.activated()
        self._say(
            f"{name.replace('_', ', ')}: PSS {memory.pss_mib:.0f} MiB, USS {memory.uss_mib:.0f} MiB in "
            f"{memory.processes} processes" + (f", {activated:,} actors in memory" if activated is not None else "")
        )
