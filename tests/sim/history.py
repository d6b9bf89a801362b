"""Is there an order in which an account could have done all this? A checker of recorded histories.

A history is *linearizable* if every operation can be given a moment between its call and its answer, so that in the
order of those moments each answer is right. What was never answered may have happened at any moment after its call, or
not at all; what was refused did not happen.

The search is Wing and Gong's with a memory of the states it has been in, made narrow by what accounts are: the state is
one number, nearly every answer names it, and of unanswered changes by the same amount only the earliest called need be
tried, because any order of them gives the same balances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

NEVER = 1 << 62
STATES_MAX = 50_000
"""Enough for every history that the tests make, by far; beyond it the history is too concurrent to judge."""

Word = Literal["deposit", "debit", "balance"]


@dataclass
class Operation:
    """`called` and `answered` are positions in the history's one order of events. `ok` is false for a debit that was
    declined, `balance` what the answer tells. `lost`: no answer, it may or may not have happened.
    """

    client: int
    account: str
    word: Word
    amount: int
    called: int
    answered: int = NEVER
    ok: bool = True
    balance: int = 0
    lost: bool = False

    def after(self, balance: int) -> int | None:
        """The balance after the operation on `balance`; None if the answer cannot be one to that."""
        change = {"deposit": self.amount, "debit": -self.amount, "balance": 0}[self.word]
        ok = balance + change >= 0
        after = balance + change if ok else balance
        if self.lost:
            return after
        return after if (self.ok, self.balance) == (ok, after) else None

    def __str__(self) -> str:
        answer = "no answer" if self.lost else f"{'ok' if self.ok else 'declined'}, balance {self.balance}"
        end = "..." if self.answered == NEVER else self.answered
        return f"[{self.called}, {end}] client {self.client}: {self.word} {self.amount} -> {answer}"


@dataclass(frozen=True)
class Violation:
    """No order explains the answers. `explained` is the longest that does, with the balance after it; `stuck` are the
    operations that could come next in time and cannot.
    """

    account: str
    explained: tuple[Operation, ...]
    balance: int
    stuck: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"account {self.account}: no order of its operations explains their answers. The longest that does:"]
        lines += [f"    {operation}" for operation in self.explained[-12:]]
        lines += [f"  gives the balance {self.balance}, on which none of these is right:"]
        lines += [f"    {operation}" for operation in self.stuck]
        return "\n".join(lines)


class TooConcurrent(Exception):
    """The search was given up."""


def check(history: Iterable[Operation]) -> list[Violation]:
    """The accounts whose operations cannot be put in order; accounts begin at 0 and are independent of each other.

    Raises TooConcurrent.
    """
    accounts: dict[str, list[Operation]] = {}
    for operation in history:
        accounts.setdefault(operation.account, []).append(operation)
    found = (_check_account(name, operations) for name, operations in sorted(accounts.items()))
    return [violation for violation in found if violation is not None]


def _check_account(name: str, operations: list[Operation]) -> Violation | None:
    operations = sorted(operations, key=lambda operation: operation.called)
    # A lost read changes nothing and tells nothing.
    operations = [one for one in operations if not (one.lost and one.word == "balance")]
    answered = sum(1 << index for index, one in enumerate(operations) if not one.lost)
    visited: set[tuple[int, int]] = set()
    stack: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    best: tuple[int, int, tuple[int, ...]] = stack[0]
    while stack:
        done, balance, order = stack.pop()
        if done & answered == answered:
            return None
        if (done & answered).bit_count() > (best[0] & answered).bit_count():
            best = (done, balance, order)
        for index in _candidates(operations, done):
            after = operations[index].after(balance)
            if after is None or (operations[index].lost and after == balance):
                continue  # a wrong answer; a lost debit that is declined is one that never happened
            state = (done | 1 << index, after)
            if state not in visited:
                visited.add(state)
                stack.append((*state, (*order, index)))
        if len(visited) > STATES_MAX:
            raise TooConcurrent(f"account {name}: more than {STATES_MAX} states")
    done, balance, order = best
    stuck = [operations[index] for index in _candidates(operations, done) if not operations[index].lost]
    return Violation(name, tuple(operations[index] for index in order), balance, tuple(stuck))


def _candidates(operations: list[Operation], done: int) -> list[int]:
    """What may come next: called before the first answer that is still to be explained. Those tried first come last."""
    found: list[int] = []
    lost: set[tuple[str, int]] = set()
    first_answer = NEVER
    for index, operation in enumerate(operations):
        if done >> index & 1:
            continue
        if operation.called > first_answer:
            break
        first_answer = min(first_answer, operation.answered)
        if not operation.lost:
            found.append(index)
        elif (kind := (operation.word, operation.amount)) not in lost:
            lost.add(kind)
            found.insert(0, index)
    return found
