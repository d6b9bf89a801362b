"""A turn's view of its storage, against a model that keeps plain dictionaries."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.actors import transaction
from host.actors.transaction import (
    CLEAR_BYTES_MAX,
    CLEAR_KEYS_MAX,
    READ_CACHE_BYTES_MAX,
    READ_CACHE_KEYS_MAX,
    WRITE_BYTES_MIN,
    Transaction,
)
from host.model.ids import ActorId
from host.model.limits import LIMITS, Limits, MiB
from host.sandbox.call import GuestFault
from host.sandbox.ports import Refusal
from host.storage.keys import ALARMS, actor_key, decode_alarm, state_prefix
from host.storage.memory import MemoryEngine
from host.storage.ports import DeleteRange, Engine
from host.storage.records import ActorRecord, decode_actor_record
from host.storage.rocks import RocksEngine

ACTOR = ActorId("acme", "Probe", "a\0b")
PREFIX = state_prefix(ACTOR)
NEIGHBOURS = [ActorId("acme", "Probe", "a"), ActorId("acme", "Probe", "a\0c"), ActorId("acme", "Prob", "ea\0b")]
NOW_MS = 1_700_000_000_000.0


class Store:
    """One actor on an engine that holds its neighbours as well; each turn is committed as an actor does it."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or MemoryEngine()
        self.record = ActorRecord()
        self.engine.write([(state_prefix(neighbour) + b"k", b"theirs") for neighbour in NEIGHBOURS])

    def begin(self, limits: Limits = LIMITS, takes_alarm: bool = False) -> Transaction:
        turn = Transaction(self.engine, ACTOR, PREFIX, self.record, limits, takes_alarm)
        turn.is_ready = True
        return turn

    def end(self, turn: Transaction, success: bool = True) -> None:
        writes, self.record = turn.batch(success, NOW_MS, self.record.alarm_ms)
        self.engine.write(writes)

    def pairs(self) -> dict[bytes, bytes]:
        low, high = PREFIX, PREFIX[:-1] + bytes([PREFIX[-1] + 1])
        return {key[len(PREFIX) :]: value for key, value in self.engine.scan(low, high)}

    def check_record(self) -> None:
        """The record in memory, on disk and in the alarm index are one."""
        stored = self.engine.get(actor_key(ACTOR))
        assert (ActorRecord() if stored is None else decode_actor_record(stored)) == self.record
        assert self.record.bytes_used == sum(len(key) + len(value) for key, value in self.pairs().items())
        index = [decode_alarm(key) for key, _ in self.engine.scan(*ALARMS)]
        assert index == ([] if self.record.alarm_ms is None else [(self.record.alarm_ms, ACTOR)])


KEYS = st.sampled_from([key.encode() for key in ("a", "aa", "ab", "b", "b\0", "é", "\U0001f980", "zz", "c", "\0")])
BOUND = st.one_of(st.just(b""), KEYS)
VALUES = st.one_of(st.sampled_from([b"", b"1", b"22"]), st.integers(0, 6000).map(lambda n: b"v" * n))
LIST = st.tuples(
    st.just("list"), BOUND, BOUND, st.one_of(st.none(), BOUND), st.booleans(), st.sampled_from([1, 2, 3, 1000])
)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("get"), KEYS),
    LIST,
    st.sampled_from([("delete_all",), ("begin",), ("begin",), ("commit",), ("rollback",)]),
    st.tuples(st.just("alarm"), st.one_of(st.none(), st.integers(0, 4))),
)
TURNS = st.lists(st.tuples(st.lists(STEPS, max_size=14), st.booleans()), max_size=6)


def model_list(pairs: dict[bytes, bytes], step: tuple[Any, ...]) -> list[tuple[bytes, bytes]]:
    _, prefix, start, end, reverse, limit = step
    inside = [(k, v) for k, v in pairs.items() if k.startswith(prefix) and k >= start and (end is None or k < end)]
    return sorted(inside, reverse=reverse)[:limit]


def play(turn: Transaction, steps: list[tuple[Any, ...]], committed: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Take the steps in both; what the model holds at the end of the turn."""
    models = [dict(committed)]
    numbers = [0]
    for step in steps:
        word, number, model = step[0], numbers[-1], models[-1]
        if word == "put":
            turn.put(number, step[1], step[2])
            model[step[1]] = step[2]
        elif word == "delete":
            assert turn.delete(number, step[1]) == (model.pop(step[1], None) is not None)
        elif word == "get":
            assert turn.get(number, step[1]) == model.get(step[1])
        elif word == "list":
            assert turn.list(number, *step[1:]) == model_list(model, step)
        elif word == "delete_all":
            turn.delete_all(number)
            model.clear()
        elif word == "begin":
            numbers.append(turn.begin(number))
            models.append(dict(model))
        elif word in ("commit", "rollback") and len(models) > 1:
            (turn.commit if word == "commit" else turn.rollback)(numbers.pop())
            above = models.pop()
            if word == "commit":
                models[-1] = above
        elif word == "alarm":
            turn.set_alarm(None if step[1] is None else NOW_MS + step[1])
            expected = None if step[1] is None else NOW_MS + step[1]
            assert turn.get_alarm() == expected
    return models[0]  # a transaction that is left open drops what it wrote


@pytest.mark.parametrize("bounds", [{}, {"CLEAR_KEYS_MAX": 0}, {"READ_CACHE_KEYS_MAX": 1}, {"READ_CACHE_BYTES_MAX": 0}])
@settings(max_examples=100, deadline=None)
@given(TURNS)
def test_turns_and_a_dictionary_agree_on_everything_read_and_on_what_is_kept(
    bounds: dict[str, int], turns: Any
) -> None:
    """Whatever is deleted one by one or as a range, and however little of what was read is kept."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bounds.items():
            patch.setattr(transaction, name, value)
        check_turns(turns)


def check_turns(turns: Any) -> None:
    store = Store()
    committed: dict[bytes, bytes] = {}
    alarm: int | None = None
    for steps, success in turns:
        turn = store.begin()
        after = play(turn, steps, committed)
        store.end(turn, success)
        if success:
            committed = after
            for step in steps:
                if step[0] == "alarm":
                    alarm = None if step[1] is None else int(NOW_MS) + step[1]
        assert store.pairs() == committed
        assert store.record.alarm_ms == alarm
        store.check_record()


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=12), st.lists(STEPS, max_size=12), st.booleans())
def test_what_was_written_before_ready_is_kept_whatever_becomes_of_the_method(
    before: Any, method: Any, success: bool
) -> None:
    store = Store()
    turn = store.begin()
    play(turn, [("put", b"a", b"old"), ("put", b"b", b"old")], {})
    store.end(turn)
    turn = store.begin()
    turn.is_ready = False
    sealed = play(turn, before, {b"a": b"old", b"b": b"old"})
    turn.ready()
    after = play(turn, method, sealed)
    store.end(turn, success)
    assert store.pairs() == (after if success else sealed)
    store.check_record()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), KEYS, st.one_of(st.none(), VALUES)), max_size=20))
def test_transactions_that_run_side_by_side_are_counted_exactly(writes: Any) -> None:
    store = Store()
    turn = store.begin()
    turn.put(0, b"a", b"old")
    store.end(turn)
    turn = store.begin()
    numbers = [0, turn.begin(0), turn.begin(0)]
    layers: list[dict[bytes, bytes | None]] = [{}, {}, {}]
    for which, key, value in writes:
        seen = {b"a": b"old", **layers[0], **layers[which]}
        if value is not None:
            turn.put(numbers[which], key, value)
        else:
            assert turn.delete(numbers[which], key) == (seen.get(key) is not None)
        if value is not None or seen.get(key) is not None:
            layers[which][key] = value
    turn.commit(numbers[2])
    turn.commit(numbers[1])
    store.end(turn)
    merged = {b"a": b"old", **layers[0], **layers[2], **layers[1]}
    assert store.pairs() == {key: value for key, value in merged.items() if value is not None}
    store.check_record()


def test_a_turn_that_writes_nothing_commits_nothing() -> None:
    store = Store()
    turn = store.begin()
    assert (turn.get(0, b"a"), turn.delete(0, b"a"), turn.list(0, b"", b"", None, False, 128)) == (None, False, [])
    assert turn.batch(True, NOW_MS, None) == ([], ActorRecord())


def test_the_first_commit_says_when_the_actor_began() -> None:
    store = Store()
    turn = store.begin()
    turn.put(0, b"a", b"1")
    store.end(turn)
    assert store.record.created_ms == int(NOW_MS)


def test_a_list_walks_past_any_number_of_keys_that_the_turn_deleted() -> None:
    store = Store()
    value = b"x" * MiB
    for part in range(0, 90, 15):
        turn = store.begin()
        for n in range(part, part + 15):
            turn.put(0, b"%03d" % n, value)
        store.end(turn)
    turn = store.begin()
    for n in range(88):
        assert turn.delete(0, b"%03d" % n)
    assert [key for key, _ in turn.list(0, b"", b"", None, False, 1000)] == [b"088", b"089"]
    assert [key for key, _ in turn.list(0, b"", b"", None, True, 1)] == [b"089"]


def test_a_list_of_more_than_32_MiB_is_refused_and_one_within_is_not() -> None:
    store = Store()
    for part in range(0, 34, 10):
        turn = store.begin()
        for n in range(part, min(part + 10, 34)):
            turn.put(0, b"%03d" % n, b"x" * MiB)
        store.end(turn)
    turn = store.begin()
    with pytest.raises(GuestFault, match="in parts"):
        turn.list(0, b"", b"", None, False, 1000)
    assert len(turn.list(0, b"", b"", None, False, 32)) == 32


# --- many keys --------------------------------------------------------------------------------------------------------


def filled(engine: Engine, keys: int, value: bytes) -> Store:
    store = Store(engine)
    turn = store.begin()
    for n in range(keys):
        turn.put(0, b"%05d" % n, value)
    turn.set_alarm(5.0)
    store.end(turn)
    return store


@pytest.mark.parametrize(("keys", "size", "ranges"), [
    (CLEAR_KEYS_MAX, 1, 0), (CLEAR_KEYS_MAX + 1, 1, 1), (1, CLEAR_BYTES_MAX - 5, 0), (1, CLEAR_BYTES_MAX - 4, 1),
])  # fmt: skip
def test_delete_all_of_much_is_one_range_and_keeps_alarm_neighbours_and_what_is_written_after(
    tmp_path: Path, keys: int, size: int, ranges: int
) -> None:
    engine = RocksEngine(tmp_path / "db")
    store = filled(engine, keys, b"v" * size)
    turn = store.begin()
    turn.put(0, b"00000", b"gone as well")
    turn.delete_all(0)
    assert (turn.get(0, b"00000"), turn.list(0, b"", b"", None, False, 9), turn.get_alarm()) == (None, [], 5.0)
    turn.put(0, b"new", b"1")
    assert not turn.delete(0, b"00000")
    writes, _ = turn.batch(True, NOW_MS, store.record.alarm_ms)
    assert sum(isinstance(write, DeleteRange) for write in writes) == ranges
    assert len(writes) == (ranges or keys) + 2  # and the new key, and the actor's record
    store.end(turn)
    assert store.pairs() == {b"new": b"1"}
    assert store.record.alarm_ms == 5
    store.check_record()
    for neighbour in NEIGHBOURS:
        assert engine.get(state_prefix(neighbour) + b"k") == b"theirs"
    engine.close()


def test_a_turn_that_reads_without_end_keeps_little_of_what_it_read() -> None:
    store = filled(MemoryEngine(), 100, b"v" * 4_000)
    turn = store.begin()
    tracemalloc.start()
    for n in range(5_000):
        assert turn.get(0, b"absent" * 300 + b"%d" % n) is None
        assert turn.get(0, b"%05d" % (n % 100)) is not None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 * READ_CACHE_BYTES_MAX


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_edges_of_a_key_a_value_and_a_turn_are_exact() -> None:
    turn = Store().begin(replace(LIMITS, turn_write_bytes_max=4096 + MiB))
    turn.put(0, b"k" * 2048, b"")
    for key, value, name in ((b"k" * 2049, b"", "RangeError"), (b"k", b"v" * (MiB + 1), "RangeError")):
        with pytest.raises(Refusal) as caught:
            turn.put(0, key, value)
        assert caught.value.name == name
    turn.put(0, b"k" * 2048, b"v" * MiB)
    with pytest.raises(Refusal) as caught:
        turn.put(0, b"k", b"")
    assert caught.value.name == "QuotaExceededError"


def test_tiny_keys_are_counted_by_what_they_cost_the_host() -> None:
    """Each key of a batch keeps the loop from other turns, however small it is."""
    store, limits = Store(), replace(LIMITS, turn_write_bytes_max=10 * WRITE_BYTES_MIN)
    turn = store.begin(limits)
    for number in range(9):
        turn.put(0, b"%d" % number, b"1")
    for _ in range(30):
        turn.put(0, b"0", b"1")  # a key that is in the batch already costs its bytes only
    with pytest.raises(Refusal) as caught:
        turn.put(0, b"9", b"1")
    assert caught.value.name == "QuotaExceededError"
    store.end(turn)
    turn = store.begin(limits)
    assert [turn.delete(0, b"%d" % number) for number in range(9)] == [True] * 9
    assert turn.delete(0, b"none") is False
    store.end(turn)
    assert store.pairs() == {}
    turn = store.begin(replace(limits, turn_write_bytes_max=MiB))
    for number in range(READ_CACHE_KEYS_MAX + 1):
        turn.put(0, b"%d" % number, b"1")
    for number in range(READ_CACHE_KEYS_MAX + 1):
        turn.delete(0, b"%d" % number)
    store.end(turn)
    assert store.pairs() == {}, "deleting what was never committed is no harm"
    store.check_record()


def test_a_transaction_that_is_left_open_is_seen_and_is_in_no_batch() -> None:
    store = Store()
    turn = store.begin()
    assert not turn.left_open
    number = turn.begin(0)
    turn.put(number, b"a", b"1")
    assert turn.left_open
    store.end(turn)
    assert store.pairs() == {}


@pytest.mark.parametrize("key", [b"", b"__telnyx_x", b"__tenure_"])
def test_empty_and_reserved_keys_are_refused(key: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        Store().begin().put(0, key, b"1")
    assert caught.value.name == "TypeError"


def test_an_actor_fills_to_its_last_byte_and_can_always_shrink() -> None:
    store, limits = Store(), replace(LIMITS, actor_bytes_max=1000)
    turn = store.begin(limits)
    turn.put(0, b"a", b"v" * 499)
    turn.put(0, b"b", b"v" * 499)
    with pytest.raises(Refusal) as caught:
        turn.put(0, b"c", b"")
    assert caught.value.name == "QuotaExceededError"
    store.end(turn)
    assert store.record.bytes_used == 1000
    turn = store.begin(limits)
    turn.put(0, b"a", b"w" * 499)
    assert turn.delete(0, b"b")
    turn.put(0, b"c", b"v" * 499)
    with pytest.raises(Refusal):
        turn.put(0, b"c", b"v" * 500)
    turn.delete_all(0)
    turn.put(0, b"d", b"v" * 999)
    store.end(turn)
    assert store.pairs() == {b"d": b"v" * 999}
    store.check_record()


# --- alarms -----------------------------------------------------------------------------------------------------------


def test_an_alarms_turn_takes_the_alarm_away_unless_it_sets_a_new_one() -> None:
    store = Store()
    for takes, new_ms, expected in ((False, 5.0, 5), (True, 9.0, 9), (True, None, None)):
        turn = store.begin(takes_alarm=takes)
        assert turn.get_alarm() == (None if takes else store.record.alarm_ms)
        if new_ms is not None:
            turn.set_alarm(new_ms)
        store.end(turn)
        assert store.record.alarm_ms == expected
        store.check_record()


def test_an_alarm_that_was_moved_while_the_turn_ran_stays_moved() -> None:
    store = Store()
    turn = store.begin()
    turn.set_alarm(5.0)
    store.end(turn)
    running = store.begin()
    running.put(0, b"k", b"v")
    mover = store.begin()
    mover.set_alarm(7.0)
    store.end(mover)
    store.end(running)
    assert store.record.alarm_ms == 7
    store.check_record()


def test_an_alarm_in_the_far_past_is_due_now_and_one_beyond_all_dates_stops_the_guest() -> None:
    turn = Store().begin()
    turn.set_alarm(-5.0)
    assert turn.get_alarm() == 0
    for at_ms in (float("nan"), float("inf"), 8.64e15 + 2):
        with pytest.raises(GuestFault):
            turn.set_alarm(at_ms)


@pytest.mark.parametrize("word", ["commit", "rollback", "begin", "delete_all"])
def test_a_transaction_that_is_not_open_stops_the_guest(word: str) -> None:
    turn = Store().begin()
    number = turn.begin(0)
    turn.commit(number)
    with pytest.raises(GuestFault):
        getattr(turn, word)(number)


def test_transactions_open_at_once_have_a_bound() -> None:
    turn = Store().begin(replace(LIMITS, operations_max=3))
    for _ in range(3):
        turn.begin(0)
    with pytest.raises(GuestFault, match="too many"):
        turn.begin(0)
