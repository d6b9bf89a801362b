"""What an account may hold, from what was sent, acknowledged, and refused. No I/O.

Each request has an id, and the account remembers which ids it applied and how often. So after a crash

    every acknowledged request is there, once;
    every request that is there was sent, and is there once;
    no refused one is there;
    the balance is what it was plus the amounts of those that are there.

A request that failed, or whose reply never came, may be there or not. In an account that only one connection uses,
the balance that a reply tells is known too, but for such requests. A bell that was acknowledged has rung at least once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Account:
    """The books of one account. `alone`: one connection uses it, so each reply's balance is known.

    `base` is the balance after the last crash, or 0; `sent` has the amount of each request since, by its id, and `sure`
    is the sum of those that were acknowledged. `failed` are those whose answer was an error, or never came.
    """

    name: str
    alone: bool
    base: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    sure: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Requests of which nobody knows whether they were applied."""
        return len(self.sent) - len(self.acknowledged) - len(self.refused)

    def send(self, request: str, amount: int) -> None:
        self.sent[request] = amount

    def replied(self, request: str, ok: bool, balance: int) -> None:
        """A reply came: `ok` is false for a debit that was refused; `balance` is the balance that it tells."""
        (self.acknowledged if ok else self.refused).add(request)
        self.sure += self.sent[request] if ok else 0
        if balance < 0:
            self._violated(f"a reply tells a balance of {balance}")
        if self.alone:
            unsure = [self.sent[each] for each in self.failed]
            lowest = self.base + self.sure + sum(amount for amount in unsure if amount < 0)
            highest = self.base + self.sure + sum(amount for amount in unsure if amount > 0)
            if not lowest <= balance <= highest:
                self._violated(f"{request} was answered with a balance of {balance}, not {lowest} to {highest}")

    def fail(self, request: str) -> None:
        """An error came instead of a reply, or nothing."""
        self.failed.add(request)

    def settle(self, balance: int, applied: Mapping[str, int]) -> None:
        """What was read after a restart: the balance, and how often each request of late was applied. Goes on from
        there.
        """
        for request in sorted(self.acknowledged - applied.keys()):
            self._violated(f"{request} was acknowledged and is lost")
        for request, times in sorted(applied.items()):
            if request not in self.sent:
                self._violated(f"{request} is there and was never sent")
            elif request in self.refused:
                self._violated(f"{request} was refused and is there")
            if times != 1:
                self._violated(f"{request} was applied {times} times")
        expected = self.base + sum(self.sent.get(request, 0) for request in applied)
        if balance != expected:
            self._violated(f"the balance is {balance}; what is there makes {expected}")
        self.base, self.sure = balance, 0
        for forgotten in (self.sent, self.acknowledged, self.refused, self.failed):
            forgotten.clear()

    def _violated(self, what: str) -> None:
        self.violations.append(f"{self.name}: {what}")


@dataclass
class Bell:
    """An alarm, due at `due` (seconds since 1970). `acknowledged`: it was answered that it is set."""

    name: str
    due: float
    acknowledged: bool = False


class Books:
    """All accounts and bells of a run."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.bells: dict[str, Bell] = {}
        self.rung_again = 0

    def account(self, name: str, *, alone: bool) -> Account:
        return self.accounts.setdefault(name, Account(name, alone))

    def bell(self, name: str, due: float) -> Bell:
        self.bells[name] = bell = Bell(name, due)
        return bell

    @property
    def acknowledged(self) -> int:
        """Requests that were acknowledged since the last crash."""
        return sum(len(account.acknowledged) for account in self.accounts.values())

    @property
    def open(self) -> int:
        """Requests of which nobody knows whether they were applied."""
        return sum(account.open for account in self.accounts.values())

    def settle(self, found: Mapping[str, tuple[int, Mapping[str, int]]], rung: Mapping[str, int]) -> list[str]:
        """Compare everything with what was read: (balance, times each request was applied) of each account, how often
        each bell has rung. Returns all violations since the last time.
        """
        wrong: list[str] = []
        for name, account in self.accounts.items():
            if name in found:
                account.settle(*found[name])
            else:
                account.violations.append(f"{name}: it cannot be read")
            wrong += account.violations
            account.violations.clear()
        for bell in self.bells.values():
            times = rung.get(bell.name, 0)
            self.rung_again += times > 1
            if bell.acknowledged and not times:
                wrong.append(f"{bell.name}: it was set and never rang")
        self.bells.clear()
        return wrong
