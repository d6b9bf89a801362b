"""The crash run's checker, on histories of which we know whether they are honest."""

from __future__ import annotations

import pytest

from tools.crash.books import Books
from tools.crash.planted import CRIMES, HONEST
from tools.crash.sync_before_reply import completed_calls, proof


def test_an_honest_history_has_no_violation_round_after_round() -> None:
    books = Books()
    assert books.settle(HONEST(books)) == []
    own, shared = books.account("own", alone=True), books.account("shared", alone=False)
    own.sent("deposit")
    own.replied("deposit", True, 11)
    shared.sent("debit")
    assert books.settle({"own": 11, "shared": 3}) == []
    assert books.settle({"own": 11, "shared": 3}) == []


@pytest.mark.parametrize("open_deposit_applied", [False, True])
def test_a_request_without_a_reply_may_have_happened_or_not(open_deposit_applied: bool) -> None:
    books = Books()
    balances = HONEST(books)
    balances["own"] = 10 if open_deposit_applied else 9
    assert books.settle(balances) == []


@pytest.mark.parametrize("crime", CRIMES)
def test_every_planted_crime_is_found(crime: str) -> None:
    books = Books()
    violations = books.settle(CRIMES[crime](books))
    assert violations
    assert all(violation.startswith(("own: ", "shared: ")) for violation in violations)


TRACE = """\
7 10.001 read(9<socket:[1]>, "POST /accounts/x/deposit HTTP/1.1", 262144) = 80
7 10.002 write(5</data/000008.log>, "...", 90) = 90
8 10.003 fdatasync(5</data/000008.log> <unfinished ...>
7 10.004 read(3<pipe:[2]>, "x", 1) = 1
8 10.005 <... fdatasync resumed>) = 0
7 10.006 writev(9<socket:[1]>, [{iov_base="HTTP/1.1 200 OK", iov_len=15}], 1) = 15
"""


def test_the_strace_proof_accepts_a_reply_after_the_sync() -> None:
    texts = [call.text.split("(")[0] for call in proof(completed_calls(TRACE), "x")]
    assert texts == ["read", "write", "fdatasync", "writev"]


@pytest.mark.parametrize("missing", [0, 1, 4, 5])
def test_the_strace_proof_refuses_a_trace_without_one_of_its_steps(missing: int) -> None:
    lines = TRACE.splitlines()
    with pytest.raises(ValueError, match="trace"):
        proof(completed_calls("\n".join(lines[:missing] + lines[missing + 1 :])), "x")


def test_the_strace_proof_refuses_a_reply_that_left_while_the_sync_was_running() -> None:
    lines = TRACE.splitlines()
    early = [*lines[:4], lines[5], lines[4], lines[5]]
    with pytest.raises(ValueError, match="before the sync"):
        proof(completed_calls("\n".join(early)), "x")
