"""Keys sort as their parts, come back as they were, and no name reaches into another actor's or tenant's range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.ids import ActorId
from host.storage import keys
from host.storage.keys import Kind
from host.storage.memory import MemoryEngine
from host.storage.records import ActorRecord, decode_actor_record

NASTY = "\x00\x01\x02\x7f\u0080ÿĀ\ud7ff\ue000\uffff\U0010ffffab"
texts = st.text(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=("Cs",))), max_size=12)
actors = st.builds(ActorId, texts, texts, texts)
u64s = st.integers(0, (1 << 64) - 1)


def utf8(actor: ActorId) -> tuple[bytes, bytes, bytes]:
    return actor.tenant.encode(), actor.type.encode(), actor.name.encode()


def inside(key: bytes, bounds: keys.Range) -> bool:
    return bounds[0] <= key < bounds[1]


@given(actors)
def test_an_actor_comes_back_from_its_key(actor: ActorId) -> None:
    assert keys.decode_actor(keys.actor_key(actor)) == actor
    assert keys.decode_actor(keys.dead_alarm_key(actor)) == actor


@given(actors, u64s)
def test_an_alarm_comes_back_from_its_key(actor: ActorId, due_ms: int) -> None:
    assert keys.decode_alarm(keys.alarm_key(due_ms, actor)) == (due_ms, actor)


@given(texts, texts, st.integers(0, (1 << 32) - 1))
def test_what_the_registry_keeps_comes_back_from_its_keys(tenant: str, function_id: str, number: int) -> None:
    assert keys.decode_tenant(keys.tenant_key(tenant)) == tenant
    assert keys.decode_function(keys.function_key(tenant, function_id)) == (tenant, function_id)
    assert keys.decode_version(keys.version_key(tenant, function_id, number)) == (tenant, function_id, number)


@given(actors, actors)
def test_actors_sort_by_the_utf8_of_tenant_type_and_name(one: ActorId, other: ActorId) -> None:
    assert (keys.actor_key(one) < keys.actor_key(other)) == (utf8(one) < utf8(other))
    assert (keys.actor_key(one) == keys.actor_key(other)) == (one == other)


@given(actors, st.binary(max_size=6), actors, st.binary(max_size=6))
def test_state_sorts_by_actor_then_by_user_key(one: ActorId, key: bytes, other: ActorId, other_key: bytes) -> None:
    left, right = keys.state_prefix(one) + key, keys.state_prefix(other) + other_key
    assert (left < right) == ((utf8(one), key) < (utf8(other), other_key))


@given(st.tuples(u64s, actors), st.tuples(u64s, actors))
def test_alarms_sort_by_their_time(one: tuple[int, ActorId], other: tuple[int, ActorId]) -> None:
    assert (keys.alarm_key(*one) < keys.alarm_key(*other)) == ((one[0], utf8(one[1])) < (other[0], utf8(other[1])))


@given(actors, actors, st.binary(max_size=8))
def test_an_actors_range_holds_its_own_keys_and_nobody_elses(one: ActorId, other: ActorId, key: bytes) -> None:
    assert inside(keys.state_prefix(one) + key, keys.state_range(one))
    assert inside(keys.state_prefix(other) + key, keys.state_range(one)) == (one == other)


@given(actors, actors)
def test_the_ranges_of_a_tenant_and_of_a_type_hold_theirs_only(one: ActorId, other: ActorId) -> None:
    key = keys.actor_key(other)
    assert inside(key, keys.actors_range(one.tenant)) == (one.tenant == other.tenant)
    assert inside(key, keys.actors_range(one.tenant, one.type)) == (one[:2] == other[:2])
    assert inside(keys.dead_alarm_key(other), keys.dead_alarms_range(one.tenant)) == (one.tenant == other.tenant)


@given(texts, texts, texts, texts)
def test_the_ranges_of_the_registry_hold_theirs_only(tenant: str, function: str, tenant2: str, function2: str) -> None:
    assert inside(keys.function_key(tenant2, function2), keys.functions_range(tenant)) == (tenant == tenant2)
    version = keys.version_key(tenant2, function2, 7)
    assert inside(version, keys.versions_range(tenant, function)) == ((tenant, function) == (tenant2, function2))


@given(actors, actors, st.text(max_size=3))
def test_a_range_of_names_holds_those_that_begin_so(one: ActorId, other: ActorId, beginning: str) -> None:
    low, high = keys.actors_named(one.tenant, one.type, beginning)
    here = (one.tenant, one.type) == (other.tenant, other.type)
    assert inside(keys.actor_key(other), (low, high)) == (here and other.name.startswith(beginning))


@given(actors, u64s, u64s)
def test_the_due_range_holds_what_is_due_and_not_what_comes_later(actor: ActorId, due_ms: int, until_ms: int) -> None:
    assert inside(keys.alarm_key(due_ms, actor), keys.alarms_due(until_ms)) == (due_ms <= until_ms)
    assert inside(keys.alarm_key(due_ms, actor), keys.ALARMS)


@given(actors, u64s, st.binary(min_size=1, max_size=32))
def test_no_kind_lies_in_the_range_of_another(actor: ActorId, due_ms: int, digest: bytes) -> None:
    by_kind = {
        Kind.FORMAT: keys.FORMAT_KEY,
        Kind.STATE: keys.state_prefix(actor) + digest,
        Kind.ACTOR: keys.actor_key(actor),
        Kind.ALARM: keys.alarm_key(due_ms, actor),
        Kind.DEAD_ALARM: keys.dead_alarm_key(actor),
        Kind.ACTOR_USE: keys.actor_use_key(actor),
        Kind.TENANT: keys.tenant_key(actor.tenant),
        Kind.FUNCTION: keys.function_key(actor.tenant, actor.type),
        Kind.VERSION: keys.version_key(actor.tenant, actor.type, 1),
        Kind.API_KEY: keys.api_key_key(digest),
        Kind.API_KEY_USE: keys.api_key_use_key(digest),
        Kind.SECRET: keys.secret_key(actor.tenant, actor.type),
        Kind.DOMAIN: keys.domain_key(actor.tenant, actor.name),
        Kind.KEPT_REPLY: keys.kept_reply_key(actor.tenant, digest),
        Kind.USAGE: keys.usage_key(1, actor.tenant, actor.type),
    }
    assert set(by_kind) == set(Kind), "a kind without a key here"
    for kind, key in by_kind.items():
        assert key[0] == kind
        assert [k for k in Kind if inside(key, keys.under(bytes([k])))] == [kind]


@pytest.mark.parametrize(
    ("tenant", "name"),
    [
        ("bank", "x"),
        ("bank\x00", "x"),
        ("bank\x00\x01Account", "x"),
        ("bank\x00\x01Account\x00\x01alice", ""),
        ("bank\x00\xff", "\x00\x01"),
        ("ban", "k\x00\x01Account\x00\x01alice"),
        ("", "bank\x00\x01Account\x00\x01alice\x00\x01balance"),
    ],
)
def test_a_crafted_name_does_not_reach_another_tenants_state(tenant: str, name: str) -> None:
    engine = MemoryEngine()
    alice = ActorId("bank", "Account", "alice")
    mallory = ActorId(tenant, "Account", name)
    engine.write([(keys.state_prefix(alice) + b"balance", b"100")])
    engine.write([(keys.state_prefix(mallory) + b"balance", b"0"), (keys.state_prefix(mallory), b"empty key")])
    assert engine.scan(*keys.state_range(alice)) == [(keys.state_prefix(alice) + b"balance", b"100")]
    assert len(engine.scan(*keys.state_range(mallory))) == 2


def test_actors_are_paged_by_name_without_skipping_or_repeating_one() -> None:
    engine = MemoryEngine()
    names = ["a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x01", "ab", "b", "é", "日本", "\U0001f600", "z" * 1024]
    engine.write([(keys.actor_key(ActorId("bank", "Account", name)), b"") for name in names])
    engine.write([(keys.actor_key(ActorId("bank", "Accounts", "other type")), b"")])
    found: list[str] = []
    start, end = keys.actors_range("bank", "Account")
    while page := engine.scan(start, end, limit=3):
        seen = [keys.decode_actor(key) for key, _ in page]
        found += [actor.name for actor in seen]
        start = keys.actors_after(seen[-1])
    assert found == sorted(names, key=str.encode)


@pytest.mark.parametrize(
    "key", [b"", b"\x99", b"\x11abc", b"\x11a\x00\x01b\x00\x01", b"\x11a\x00\x01b\x00\x01c\x00\x01d"]
)
def test_what_is_not_an_actors_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        keys.decode_actor(key)


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        keys.state_prefix(ActorId("bank", "Account", "\ud800"))
    with pytest.raises(ValueError, match="no key above"):
        keys.after(b"\xff\xff")
    with pytest.raises(OverflowError):
        keys.version_key("bank", "f", 1 << 32)


def test_the_bytes_of_the_layout_are_these() -> None:
    """What is on disks already: a change here needs a new format and a step in `storage.upgrade`."""
    alice = ActorId("bank", "Account", "alice")
    suffix = b"bank\x00\x01Account\x00\x01alice\x00\x01"
    assert keys.FORMAT_KEY == b"\x01"
    assert keys.state_prefix(alice) == b"\x10" + suffix
    assert keys.actor_key(alice) == b"\x11" + suffix
    assert keys.alarm_key(1_700_000_000_000, alice) == b"\x12\x00\x00\x01\x8b\xcf\xe5\x68\x00" + suffix
    assert keys.dead_alarm_key(alice) == b"\x13" + suffix
    assert keys.actor_use_key(alice) == b"\x14" + suffix
    assert keys.tenant_key("a\x00b") == b"\x20a\x00\xffb\x00\x01"
    assert keys.function_key("bank", "f") == b"\x21bank\x00\x01f\x00\x01"
    assert keys.version_key("bank", "f", 258) == b"\x22bank\x00\x01f\x00\x01\x00\x00\x01\x02"
    assert keys.api_key_key(b"\x00\xff") == b"\x23\x00\xff"
    record = ActorRecord(bytes_used=258, created_ms=1, alarm_ms=0)
    assert record.encode().hex() == "01" + "0000000000000102" + "0000000000000001" + "0000000000000001"


@given(st.builds(ActorRecord, u64s, u64s, st.none() | st.integers(0, (1 << 64) - 2)))
def test_an_actors_record_comes_back_as_it_was(record: ActorRecord) -> None:
    assert decode_actor_record(record.encode()) == record


def test_a_record_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        ActorRecord(bytes_used=-1).encode()
    for data in (b"", b"\x02" + b"\x00" * 24, b"\x01"):
        with pytest.raises(ValueError, match="not an actor's record"):
            decode_actor_record(data)
