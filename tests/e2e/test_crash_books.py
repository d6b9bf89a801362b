"""The crash run's checkers, on histories, logs and programs of which we know what is wrong with them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tools.crash.books import Books
from tools.crash.mutants import MUTANTS, Mutant
from tools.crash.planted import CRIMES, HONEST
from tools.crash.sync_before_reply import completed_calls, proof
from tools.crash.torn import newest_logs, tear_log


def test_an_honest_history_has_no_violation_round_after_round() -> None:
    books = Books()
    for _ in range(3):
        assert books.settle(*HONEST(books)) == []
    assert books.rung_again == 3


@pytest.mark.parametrize("applied", [False, True])
def test_a_request_without_a_reply_may_have_happened_or_not(applied: bool) -> None:
    books = Books()
    account = books.account("own", alone=True)
    account.send("lost", 1)
    account.fail("lost")
    account.send("next", 1)
    account.replied("next", True, 2 if applied else 1)
    times = {"next": 1, **({"lost": 1} if applied else {})}
    assert books.settle({"own": (len(times), times)}, {}) == []


@pytest.mark.parametrize("crime", CRIMES)
def test_every_planted_crime_is_found(crime: str) -> None:
    books = Books()
    violations = books.settle(*CRIMES[crime](books))
    assert violations
    assert all(violation.startswith(("own: ", "shared: ", "bell: ")) for violation in violations)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_there_is_a_place_for_each_planted_bug(mutant: Mutant, tmp_path: Path) -> None:
    program = mutant.make(tmp_path / "mutant")
    text = (program / "host" / mutant.file).read_text()
    compile(text, mutant.file, "exec")
    assert mutant.wrong in text


def test_a_power_cut_takes_something_of_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "000007.log"
    hows = set()
    for seed in range(50):
        log.write_bytes(bytes([1]) * 100)
        tear = tear_log(log, 60, random.Random(seed))
        assert tear is not None
        hows.add(tear.how)
        kept = 100 - tear.bytes_lost
        assert kept >= 60
        found = log.read_bytes()
        assert found[:kept] == bytes([1]) * kept
        assert found[kept:] != bytes([1]) * tear.bytes_lost
    assert hows == {"cut off", "zeroed", "garbled"}


def test_a_log_that_is_all_synced_stays_whole(tmp_path: Path) -> None:
    log = tmp_path / "000007.log"
    log.write_bytes(b"synced")
    assert tear_log(log, 6, random.Random(1)) is None
    assert log.read_bytes() == b"synced"


def test_only_the_newest_log_of_each_engine_is_torn(tmp_path: Path) -> None:
    for name in ("control/000009.log", "shards/000/000008.log", "shards/000/000011.log", "shards/000/OLD.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(newest_logs(tmp_path)) == [tmp_path / "control/000009.log", tmp_path / "shards/000/000011.log"]


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
