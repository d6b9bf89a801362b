"""What the balance of an account may be, from what was sent and what was acknowledged. No I/O.

A request that was answered happened exactly once, or, for a debit that was refused, not at all. A request whose reply
never came happened once or not at all. So after a crash

    acknowledged deposits - acknowledged debits - open debits
        <= balance <= acknowledged deposits + open deposits - acknowledged debits

and never below zero. In an account that only one connection uses, every reply also tells the balance to the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Action = Literal["deposit", "debit"]


@dataclass
class Account:
    """The books of one account; all amounts are 1. `alone`: one connection uses it, so each reply's balance is known.

    `base` is the balance after the last crash, or 0; the counts are of what came since.
    """

    name: str
    alone: bool
    base: int = 0
    deposits: int = 0
    deposits_open: int = 0
    debits: int = 0
    debits_open: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def lowest(self) -> int:
        return max(self.base + self.deposits - self.debits - self.debits_open, 0)

    @property
    def highest(self) -> int:
        return self.base + self.deposits + self.deposits_open - self.debits

    def sent(self, action: Action) -> None:
        if action == "deposit":
            self.deposits_open += 1
        else:
            self.debits_open += 1

    def replied(self, action: Action, ok: bool, balance: int) -> None:
        """A reply came: `ok` is false for a debit that was refused; `balance` is the balance that it tells."""
        if action == "deposit":
            self.deposits_open -= 1
            self.deposits += 1
        else:
            self.debits_open -= 1
            self.debits += ok
        if balance < 0:
            self._violated(f"a reply tells a balance of {balance}")
        if self.alone and balance != self.base + self.deposits - self.debits:
            expected = self.base + self.deposits - self.debits
            self._violated(f"a {action} was answered with a balance of {balance}, it must be {expected}")

    def settle(self, balance: int) -> None:
        """The balance that was read after a restart. Records what is wrong with it, and goes on from there."""
        if balance < self.lowest:
            self._violated(f"balance {balance} is below {self.lowest}: a deposit is lost, or a debit was applied twice")
        if balance > self.highest:
            self._violated(
                f"balance {balance} is above {self.highest}: a deposit was applied twice, or a debit is lost"
            )
        self.base = balance
        self.deposits = self.deposits_open = self.debits = self.debits_open = 0

    def _violated(self, what: str) -> None:
        self.violations.append(f"{self.name}: {what}")


class Books:
    """All accounts of a run."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def account(self, name: str, *, alone: bool) -> Account:
        return self.accounts.setdefault(name, Account(name, alone))

    @property
    def acknowledged(self) -> int:
        """Changes that were acknowledged since the last crash."""
        return sum(account.deposits + account.debits for account in self.accounts.values())

    @property
    def open(self) -> int:
        """Requests without a reply."""
        return sum(account.deposits_open + account.debits_open for account in self.accounts.values())

    def settle(self, balances: dict[str, int]) -> list[str]:
        """Compare every account with what was read; returns all violations since the last time."""
        found: list[str] = []
        for name, account in self.accounts.items():
            if name in balances:
                account.settle(balances[name])
            else:
                account.violations.append(f"{name}: its balance cannot be read")
            found += account.violations
            account.violations.clear()
        return found
