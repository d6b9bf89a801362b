"""Histories with a crime in them, to show that the books find it: a checker that finds nothing proves nothing.

`HONEST` plays a load against a host that keeps its promises; each crime is the same load against one that does not.
Shape: {crime: plays it into books and returns what is read after the crash}. `mutants.py` has hosts that do such
things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tools.crash.books import Books


class Found(NamedTuple):
    """What is read after a crash: (balance, times each request was applied) by account, rings by bell."""

    accounts: dict[str, tuple[int, dict[str, int]]]
    rung: dict[str, int]


def _honest(books: Books) -> Found:
    """Three deposits, of which the last has no reply and was applied; two deposits and three debits, of which one was
    refused and one has no reply and was not applied; a bell that rang twice.
    """
    own = books.account("own", alone=True)
    for number in (1, 2):
        own.send(f"d{number}", 1)
        own.replied(f"d{number}", True, own.base + number)
    own.send("d3", 1)
    shared = books.account("shared", alone=False)
    for request, amount, ok, balance in (
        ("a1", 1, True, 1),
        ("b1", -1, True, 0),
        ("b2", -1, False, 0),
        ("a2", 1, True, 1),
    ):
        shared.send(request, amount)
        shared.replied(request, ok, balance)
    shared.send("b3", -1)
    books.bell("bell", 0.0).acknowledged = True
    books.bell("bell without a reply", 0.0)
    own_found = own.base + 3, {"d1": 1, "d2": 1, "d3": 1}
    return Found({"own": own_found, "shared": (shared.base + 1, {"a1": 1, "b1": 1, "a2": 1})}, {"bell": 2})


def _with(books: Books, account: str, balance: int, **applied: int) -> Found:
    """The honest history, but for what is read of one account."""
    honest = _honest(books)
    return honest._replace(accounts={**honest.accounts, account: (balance, applied)})


def _unreadable(books: Books) -> Found:
    honest = _honest(books)
    return honest._replace(accounts={"own": honest.accounts["own"]})


def _stale_reply(books: Books) -> Found:
    """A third deposit that is answered as if the second had not been."""
    honest = _honest(books)
    books.account("own", alone=True).replied("d3", True, 2)
    return honest


def _overdrawn(books: Books) -> Found:
    honest = _honest(books)
    books.account("shared", alone=False).replied("b3", True, -1)
    return honest._replace(accounts={**honest.accounts, "shared": (0, {"a1": 1, "b1": 1, "a2": 1, "b3": 1})})


HONEST: Callable[[Books], Found] = _honest
CRIMES: dict[str, Callable[[Books], Found]] = {
    "an acknowledged deposit is lost": lambda books: _with(books, "own", 2, d1=1, d3=1),
    "a deposit is applied twice": lambda books: _with(books, "own", 4, d1=1, d2=2, d3=1),
    "an acknowledged debit is lost": lambda books: _with(books, "shared", 2, a1=1, a2=1),
    "a debit is applied twice": lambda books: _with(books, "shared", 0, a1=1, b1=2, a2=1),
    "a refused debit is applied": lambda books: _with(books, "shared", 0, a1=1, b1=1, a2=1, b2=1),
    "a request is applied that nobody sent": lambda books: _with(books, "own", 4, d1=1, d2=1, d3=1, d4=1),
    "half of a turn is kept": lambda books: _with(books, "own", 2, d1=1, d2=1, d3=1),
    "an account cannot be read": _unreadable,
    "a reply tells an old balance": _stale_reply,
    "a debit overdraws": _overdrawn,
    "a bell never rings": lambda books: _honest(books)._replace(rung={}),
}
