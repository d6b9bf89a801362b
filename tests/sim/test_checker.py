"""The history checker itself: histories that are plainly right or wrong, and all small ones against brute force."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.history import NEVER, Operation, TooConcurrent, check


def deposit(amount: int, called: int, answered: int, balance: int) -> Operation:
    return Operation(0, "a", "deposit", amount, called, answered, balance=balance)


def read(called: int, answered: int, balance: int) -> Operation:
    return Operation(1, "a", "balance", 0, called, answered, balance=balance)


def lost_deposit(amount: int, called: int) -> Operation:
    return Operation(2, "a", "deposit", amount, called, lost=True)


def test_an_overlapping_read_may_come_before_or_after_a_deposit() -> None:
    for balance in (0, 5):
        assert check([deposit(5, 1, 4, 5), read(2, 3, balance)]) == []


def test_a_read_after_the_answer_to_a_deposit_sees_it() -> None:
    violations = check([deposit(5, 1, 2, 5), read(3, 4, 0)])
    assert [violation.account for violation in violations] == ["a"]
    assert "client 1: balance" in str(violations[0])


def test_what_was_seen_once_is_seen_ever_after() -> None:
    deposited = deposit(5, 1, 9, 5)
    assert check([deposited, read(2, 3, 0), read(4, 5, 5)]) == []
    assert check([deposited, read(2, 3, 5), read(4, 5, 0)])


def test_a_lost_deposit_may_have_happened_at_any_time_or_never_but_only_once() -> None:
    lost = lost_deposit(5, 1)
    for balances in ((0, 0), (0, 5), (5, 5)):
        reads = [read(2 + 2 * n, 3 + 2 * n, balance) for n, balance in enumerate(balances)]
        assert check([lost, *reads]) == []
    assert check([lost, read(2, 3, 5), read(4, 5, 0)])
    assert check([lost, read(2, 3, 10)])
    assert check([read(1, 2, 5), lost_deposit(5, 3)])


def test_a_declined_debit_saw_too_little_money() -> None:
    declined = Operation(1, "a", "debit", 7, 3, 4, ok=False, balance=5)
    assert check([deposit(5, 1, 2, 5), declined]) == []
    assert check([deposit(8, 1, 2, 8), declined])


def test_accounts_are_judged_apart() -> None:
    other = Operation(0, "b", "deposit", 1, 3, 4, balance=2)
    assert [violation.account for violation in check([deposit(5, 1, 2, 5), other])] == ["b"]


def test_a_hundred_lost_calls_are_still_judged_and_a_hopeless_history_is_given_up() -> None:
    lost = [lost_deposit(1, n) for n in range(100)]
    assert check([*lost, read(200, 201, 100)]) == []
    assert check([*lost, read(200, 201, 101)])
    with pytest.raises(TooConcurrent):
        check([lost_deposit(1 << n, n) for n in range(40)] + [read(200, 201, 1 << 41)])


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Up to five operations of one account, in any overlap, with answers that are often wrong."""
    count = draw(st.integers(1, 5))
    moments = draw(st.permutations(range(2 * count)))
    made = []
    for n in range(count):
        called, answered = sorted(moments[2 * n : 2 * n + 2])
        word = draw(st.sampled_from(("deposit", "debit", "balance")))
        amount = 0 if word == "balance" else draw(st.integers(1, 2))
        lost = draw(st.integers(0, 3)) == 0
        ok = word != "debit" or draw(st.booleans())
        balance = draw(st.integers(0, 4))
        made.append(Operation(n, "a", word, amount, called, NEVER if lost else answered, ok, balance, lost))
    return made


def brute_force(history: list[Operation]) -> bool:
    """Whether any order of the answered operations and any of the lost ones respects time and gives the answers."""
    answered = [one for one in history if not one.lost]
    lost = [one for one in history if one.lost]
    return any(
        in_time(order) and explains(order)
        for count in range(len(lost) + 1)
        for happened in combinations(lost, count)
        for order in permutations([*answered, *happened])
    )


def in_time(order: tuple[Operation, ...]) -> bool:
    return all(first.called < second.answered for first, second in combinations(order, 2))


def explains(order: tuple[Operation, ...]) -> bool:
    balance: int | None = 0
    for operation in order:
        balance = operation.after(balance)
        if balance is None:
            return False
    return True


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(histories())
def test_the_checker_says_what_trying_every_order_says(history: list[Operation]) -> None:
    assert (check(history) == []) == brute_force(history)
