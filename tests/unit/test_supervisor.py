"""What serves reaches every worker in order; many answers are one; deaths are counted against the guilty."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from host.actors.dead import WaitingAlarm
from host.cluster.kinds import Kind
from host.cluster.link import Done, LinkLost
from host.model.errors import NotFound, TenureError, Unavailable
from host.model.ids import ActorId, host_label
from host.model.limits import LIMITS
from host.model.manifest import parse_manifest
from host.model.version import Version
from host.registry import feed
from host.registry.serving import Change, Serving
from host.registry.split import Part
from host.supervisor import staff as staffing
from host.supervisor.alarms import merged
from host.supervisor.asking import Desk, Direct, ask
from host.supervisor.blame import DEATHS_MAX, WITHIN_S, Blame, may_be_a_guests_doing
from host.supervisor.staff import Staff
from host.supervisor.supervisor import LIVED_S, PAUSE_FIRST_S, PAUSE_S_MAX, SHORT_LIVES_FREE, Slot

MANIFEST = """
name = "shop"
main = "src/index.ts"
compatibility_date = "2026-05-01"
[[actors]]
binding = "CART"
type = "Cart"
[env_vars]
COLOUR = "blue"
"""


def version(number: int, name: str = "shop", types: tuple[str, ...] = ("Cart",)) -> Version:
    manifest, _ = parse_manifest(MANIFEST)
    function_id = "01a2087f-7983-7368-87fa-4885d7f99575"
    limits = replace(LIMITS, call_cpu_s=0.5)
    return Version(
        "acme", function_id, name, number, "d" * 64, manifest, f"/c/{number}.cwasm", True, types, "sdk/1", limits
    )


def label(of: Version) -> str:
    return host_label(of.function_name, of.function_id)


def serves(one: Version) -> Change:
    return Change(label(one), (Part(one),))


class Replica:
    """A worker's side of the feed; `slow` keeps its replies until `release`."""

    def __init__(self, *, slow: bool = False) -> None:
        self.serving = Serving()
        self.numbers: list[int] = []
        self._kept: list[Callable[[], None]] = []
        self._slow = slow

    def request(self, kind: int, payload: bytes, done: Done) -> None:
        changes = feed.decode(payload)
        if kind == Kind.SNAPSHOT:
            self.serving.become(changes)
        else:
            self.serving.apply(changes[0])
        self.numbers += [part.version.number for change in changes for part in change.parts]
        if self._slow:
            self._kept.append(lambda: done(b""))
        else:
            done(b"")

    def post(self, kind: int, payload: bytes) -> None:
        raise AssertionError("nothing is posted to a worker")

    def release(self) -> None:
        for reply in self._kept:
            reply()


def test_a_version_reaches_another_process_as_it_is() -> None:
    one = replace(version(3), secrets={"KEY": "s3cret"}, mark=7)
    sent = Change("shop-01a2087f79", (Part(one, 90), Part(version(4), 10)), "why not")
    (got,) = feed.decode(feed.encode([sent]))
    assert (got.label, got.reason) == (sent.label, sent.reason)
    assert [part.weight for part in got.parts] == [90, 10]
    for mine, theirs in zip(sent.parts, got.parts, strict=True):
        assert [getattr(theirs.version, name) for name in Version.__slots__] == [
            getattr(mine.version, name) for name in Version.__slots__
        ]


def test_a_refused_version_has_no_route_and_its_types_say_why() -> None:
    serving = Serving()
    one = version(1)
    serving.apply(serves(one))
    assert (serving.route(label(one)), serving.owner("acme", "Cart")) == (one, one)
    serving.apply(serves(one)._replace(reason="it is in quarantine"))
    assert (serving.route(label(one)), serving.owner("acme", "Cart")) == (None, None)
    assert serving.why_unavailable(label(one)) == serving.why_no_owner("acme", "Cart") == "it is in quarantine"
    serving.apply(serves(version(2)))
    assert (serving.why_unavailable(label(one)), serving.why_no_owner("acme", "Cart")) == (None, None)


def test_a_replica_that_is_told_again_what_it_knows_changes_nothing() -> None:
    """A new control process sends its snapshot to workers that serve on: activations must not restart for it."""
    replica, changes = Serving(), [serves(version(1)), Change("held-0123456789", reason="not ready")]
    replica.become(feed.decode(feed.encode(changes)))
    told: list[tuple[tuple[Version, ...], tuple[Version, ...]]] = []
    replica.on_change(lambda old, new: told.append((old, new)))
    before = replica.route(label(version(1)))
    replica.become(feed.decode(feed.encode(changes)))
    assert (replica.route(label(version(1))), told) == (before, [])
    replica.become([])
    assert (replica.route(label(version(1))), told) == (None, [((before,), ())])
    assert replica.why_unavailable("held-0123456789") is None


async def test_a_worker_gets_a_snapshot_and_then_every_change_in_order() -> None:
    truth = Serving()
    staff = Staff(truth.changes)
    truth.apply(serves(version(1)))
    replica = Replica()
    await staff.join(replica)
    for number in (2, 3, 4):
        change = serves(version(number))
        truth.apply(change)
        await staff.spread(change)
    assert replica.numbers == [1, 2, 3, 4]


async def test_a_change_is_done_when_every_worker_follows_it() -> None:
    staff, quick, slow = Staff(list), Replica(), Replica(slow=True)
    await staff.join(quick)
    joining = asyncio.create_task(staff.join(slow))
    await asyncio.sleep(0)
    slow.release()
    await joining
    done = staff.spread(serves(version(2)))
    await asyncio.sleep(0)
    assert (quick.numbers, done.done()) == ([2], False)
    slow.release()
    await asyncio.wait_for(done, 5)


async def test_a_worker_that_does_not_follow_in_time_is_told_on_and_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staffing, "APPLY_S", 0.01)
    staff, slow = Staff(list), Replica(slow=True)
    silent: list[object] = []
    staff.on_silent = silent.append
    joining = asyncio.create_task(staff.join(slow))
    await asyncio.sleep(0)
    slow.release()
    await joining
    await asyncio.wait_for(staff.spread(serves(version(2))), 5)
    assert silent == [slow]


async def test_what_a_worker_refuses_is_raised_where_it_was_asked() -> None:
    async def refuse(_question: object) -> None:
        raise NotFound("There is no such alarm.")

    async def fail(_question: object) -> None:
        raise ValueError("something of the host's own")

    desk = Desk({Kind.ALARMS_RETRY: refuse, Kind.STATUS: fail})
    way = Direct(desk.handlers)
    with pytest.raises(NotFound, match="no such alarm"):
        await ask(way, Kind.ALARMS_RETRY)
    with pytest.raises(Unavailable) as failed:
        await ask(way, Kind.STATUS)
    assert "own" not in failed.value.detail
    await desk.close()


async def test_status_is_asked_of_those_that_are_there() -> None:
    class Gone:
        def request(self, kind: int, payload: bytes, done: Done) -> None:
            done(LinkLost("it died"))

        def post(self, kind: int, payload: bytes) -> None:
            raise AssertionError

    async def count(_question: object) -> dict[str, int]:
        return {"activations": 3}

    desk = Desk({Kind.STATUS: count})
    staff = Staff(list)
    staff.serves(0, Direct(desk.handlers))
    staff.serves(1, Gone())
    assert await staff.ask_all(Kind.STATUS) == {0: {"activations": 3}}
    with pytest.raises(TenureError):
        await staff.ask(2, Kind.STATUS)
    await desk.close()


def alarm(name: str) -> WaitingAlarm:
    return WaitingAlarm(ActorId("acme", "Cart", name), 1, 0)


def names(page: tuple[list[WaitingAlarm], ActorId | None]) -> tuple[str, str | None]:
    found, following = page
    return "".join(one.actor.name for one in found), following and following.name


@pytest.mark.parametrize(
    ("pages", "limit", "expected"),
    [
        ([("ace", None), ("bd", None)], 10, ("abcde", None)),
        ([("ace", None), ("bd", None)], 2, ("ab", "b")),
        ([("ac", "c"), ("bd", None)], 10, ("abc", "c")),  # the first may have something before d
        ([("ac", "c"), ("bd", "d")], 10, ("abc", "c")),
        ([("", "m"), ("bz", None)], 10, ("b", "m")),  # a page that looked at many actors and found none
        ([], 10, ("", None)),
    ],
)
def test_pages_of_several_shards_are_one_page(
    pages: list[tuple[str, str | None]], limit: int, expected: tuple[str, str | None]
) -> None:
    parts = [([alarm(name) for name in text], end and ActorId("acme", "Cart", end)) for text, end in pages]
    assert names(merged(parts, limit)) == expected


def test_only_a_death_that_a_guest_can_cause_counts_against_it() -> None:
    assert may_be_a_guests_doing(signal.SIGABRT, False)
    assert may_be_a_guests_doing(signal.SIGSEGV | 0x80, False)  # with a core dump
    assert may_be_a_guests_doing(1 << 8, False)  # an error that nobody caught
    assert may_be_a_guests_doing(signal.SIGKILL, True)  # the kernel wanted its memory
    assert not may_be_a_guests_doing(signal.SIGKILL, False)  # somebody killed it
    assert not may_be_a_guests_doing(signal.SIGTERM, False)
    assert not may_be_a_guests_doing(0, False)
    assert not may_be_a_guests_doing(None, False)


def test_a_version_is_blamed_for_the_third_death_within_a_minute() -> None:
    blame = Blame()
    assert [blame.died((7, 0), now) for now in (0, 10, 20)] == [None, None, 7]
    assert [blame.died((7, 0), now) for now in (30, 30 + WITHIN_S, 31 + WITHIN_S)] == [None, None, None]
    assert [blame.died((0, 0), now) for now in range(1_000, 1_000 + DEATHS_MAX)] == [None] * DEATHS_MAX


def test_of_two_that_ran_each_time_the_one_in_the_background_goes_first() -> None:
    blame = Blame()
    assert [blame.died((5, 9), now) for now in (0, 1, 2)] == [None, None, 9]
    assert blame.died((5, 0), 3) == 5  # it goes on without the other: so it was this one, or both


def test_a_worker_that_dies_young_again_and_again_waits_longer_each_time() -> None:
    slot = Slot(0)
    pauses = []
    for life in range(12):
        slot.began = life * 100.0
        pauses.append(slot.died(slot.began + LIVED_S / 2))
    assert pauses[: SHORT_LIVES_FREE + 3] == [0.0] * SHORT_LIVES_FREE + [
        PAUSE_FIRST_S,
        PAUSE_FIRST_S * 2,
        PAUSE_FIRST_S * 4,
    ]
    assert pauses[-1] == PAUSE_S_MAX
    assert slot.died(slot.began + LIVED_S) == 0.0
    assert slot.died(slot.began + LIVED_S / 2) == 0.0
