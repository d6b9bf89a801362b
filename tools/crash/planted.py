"""Histories with a crime in them, to show that the books find it: a checker that finds nothing proves nothing.

`honest` plays a load against a host that keeps its promises; each crime is the same load against one that does not.
Shape: {crime: books and the balances read after the crash}.
"""

from __future__ import annotations

from collections.abc import Callable

from tools.crash.books import Account, Books


def _honest(books: Books) -> dict[str, int]:
    """Ten deposits, the last of them unanswered but applied; five and five deposits, three debits of which one open."""
    own = books.account("own", alone=True)
    for number in range(9):
        own.sent("deposit")
        own.replied("deposit", True, number + 1)
    own.sent("deposit")
    shared = books.account("shared", alone=False)
    for number in range(5):
        shared.sent("deposit")
        shared.replied("deposit", True, number + 1)
    shared.sent("debit")
    shared.replied("debit", True, 4)
    shared.sent("debit")
    shared.replied("debit", False, 0)
    shared.sent("debit")
    return {"own": 10, "shared": 3}


def _lost_deposit(books: Books) -> dict[str, int]:
    return {**_honest(books), "own": 8}


def _doubled_deposit(books: Books) -> dict[str, int]:
    return {**_honest(books), "own": 11}


def _lost_debit(books: Books) -> dict[str, int]:
    return {**_honest(books), "shared": 5}


def _doubled_debit(books: Books) -> dict[str, int]:
    return {**_honest(books), "shared": 2}


def _unreadable(books: Books) -> dict[str, int]:
    return {"own": _honest(books)["own"]}


def _stale_reply(books: Books) -> dict[str, int]:
    """A second deposit that is answered as if the first had not been."""
    account: Account = books.account("own", alone=True)
    for _ in range(2):
        account.sent("deposit")
        account.replied("deposit", True, 1)
    return {"own": 2}


def _overdrawn(books: Books) -> dict[str, int]:
    account = books.account("shared", alone=False)
    account.sent("debit")
    account.replied("debit", True, -1)
    return {"shared": 0}


HONEST: Callable[[Books], dict[str, int]] = _honest
CRIMES: dict[str, Callable[[Books], dict[str, int]]] = {
    "an acknowledged deposit is lost": _lost_deposit,
    "a deposit is applied twice": _doubled_deposit,
    "an acknowledged debit is lost": _lost_debit,
    "a debit is applied twice": _doubled_debit,
    "an account cannot be read": _unreadable,
    "a reply tells an old balance": _stale_reply,
    "a debit overdraws": _overdrawn,
}
