"""Quotas at their edge: the last that is allowed passes, the next is refused, and time or room lets it pass again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host.model.clock import ManualClock
from host.model.errors import ActorOverloadedError, QuotaReached, TooManyRequests, UsageError
from host.model.limits import MiB
from host.model.manifest import Manifest, ManifestError, parse_manifest
from host.model.quotas import Quotas, parsed
from host.model.version import Version
from host.quotas.meter import Meters
from host.quotas.page import Page, function_key, open_page, private_page, tenant_key
from host.registry.usage import DAY_MS, WRITE_S, Usage
from host.telemetry.batch import Counted
from tests.unit.registry_kit import HEAD, Host, component, manifest


def version_of(
    tenant: str = "acme",
    function: str = "f1",
    *,
    types: tuple[str, ...] = (),
    own: dict[str, float] | None = None,
    **quotas: float,
) -> Version:
    made = Manifest(function, "src/index.ts", quotas=own or {})
    return Version(tenant, function, function, 1, "", made, "", True, types, quotas=replace(Quotas(), **quotas))


class Workers:
    """The meters of some workers on one page, and what they refused."""

    def __init__(self, count: int = 1, page: Page | None = None) -> None:
        self.clock = ManualClock()
        self.page = page or private_page()
        self.refused: list[str] = []
        self.meters = [
            Meters(self.page, slot, count, self.clock, lambda _version, quota: self.refused.append(quota))
            for slot in range(count)
        ]

    def serve(self, *versions: Version, instead_of: Version | None = None) -> None:
        """Each as a function of its own. With none at all what served before no longer does."""
        old = () if instead_of is None else (instead_of,)
        for version in versions:
            self.page.claim(tenant_key(version.tenant))
            self.page.claim(function_key(version.function_id))
        for new in [(version,) for version in versions] or [()]:
            for meters in self.meters:
                meters.follow(old, new)

    def admitted(self, version: Version, count: int) -> int:
        """How many of so many requests begin, the workers taking turns."""
        passed = 0
        for number in range(count):
            try:
                self.meters[number % len(self.meters)].admit(version)
                passed += 1
            except TooManyRequests:
                pass
        return passed


def test_the_last_request_of_a_second_passes_and_the_next_is_told_when_to_come_again() -> None:
    workers, version = Workers(), version_of(requests_per_second=5)
    workers.serve(version)
    assert workers.admitted(version, 5) == 5
    with pytest.raises(TooManyRequests) as refused:
        workers.meters[0].admit(version)
    assert refused.value.retry_after_s == pytest.approx(0.2, abs=1e-5)
    assert workers.refused == ["requests_per_second"]
    workers.clock.advance(0.2)
    assert workers.admitted(version, 3) == 1
    workers.clock.advance(60)
    assert workers.admitted(version, 9) == 5


def test_several_workers_let_in_together_what_one_would(tmp_path: Path) -> None:
    workers, version = Workers(4, open_page(tmp_path, 4)), version_of(requests_per_second=10)
    workers.serve(version)
    assert workers.admitted(version, 100) == 10
    workers.clock.advance(0.5)
    assert workers.admitted(version, 100) == 5
    again = Workers(4, open_page(tmp_path, 4))
    again.clock.advance(0.5)
    again.serve(version)
    assert again.admitted(version, 100) == 0, "processes that come later count in the same place"


def test_a_rate_below_one_a_second_is_shared_as_well(tmp_path: Path) -> None:
    workers, version = Workers(4, open_page(tmp_path, 4)), version_of(requests_per_second=0.5)
    workers.serve(version)
    assert workers.admitted(version, 8) == 1
    workers.clock.advance(2)
    assert workers.admitted(version, 8) == 1


def test_one_tenants_quota_is_not_taken_from_another_and_functions_of_one_share_it() -> None:
    workers = Workers()
    acme, twin, other = (
        version_of("acme", "f1", requests_per_second=4),
        version_of("acme", "f2", requests_per_second=4),
        version_of("other", "f3", requests_per_second=4),
    )
    workers.serve(acme, twin, other)
    assert [workers.admitted(one, 3) for one in (acme, twin, other)] == [3, 1, 3]


def test_a_function_that_lowers_its_quota_takes_nothing_more_of_its_tenants() -> None:
    workers = Workers()
    low = version_of("acme", "f1", own={"requests_per_second": 2}, requests_per_second=5)
    twin = version_of("acme", "f2", requests_per_second=5)
    workers.serve(low, twin)
    assert workers.admitted(low, 10) == 2
    assert workers.admitted(twin, 10) == 3, "what was refused for the function was not counted for the tenant"


def test_cpu_time_beyond_the_minute_is_made_up_for_by_waiting() -> None:
    workers, version = Workers(), version_of(cpu_ms_per_minute=1000)
    workers.serve(version)
    meters = workers.meters[0]
    meters.of(version).spend_cpu(0.999, workers.clock.monotonic())
    meters.admit(version)
    meters.check_turn(version)
    meters.of(version).spend_cpu(0.101, workers.clock.monotonic())
    with pytest.raises(TooManyRequests) as refused:
        meters.admit(version)
    assert refused.value.retry_after_s == pytest.approx(6, abs=0.01)
    with pytest.raises(ActorOverloadedError):
        meters.check_turn(version)
    workers.clock.advance(6.1)
    meters.admit(version)


def test_a_time_of_a_clock_that_began_anew_bars_nobody() -> None:
    workers, version = Workers(), version_of(requests_per_second=5)
    workers.serve(version)
    for at in range(8):
        workers.page.rates[at] = 1e7
    assert workers.admitted(version, 9) == 5


def test_outbound_requests_of_a_minute() -> None:
    workers, version = Workers(), version_of(outbound_per_minute=3)
    workers.serve(version)
    meters = workers.meters[0]
    said = [meters.take_outbound(version, meters.of(version)) for _ in range(4)]
    assert said[:3] == ["", "", ""]
    assert "outbound requests" in said[3]
    workers.clock.advance(20)
    assert meters.take_outbound(version, meters.of(version)) == ""


def test_storage_is_one_sum_over_all_workers_and_room_comes_back(tmp_path: Path) -> None:
    workers, version = Workers(2, open_page(tmp_path, 2)), version_of(storage_mb=1)
    workers.serve(version)
    one, two = (meters.stored for meters in workers.meters)
    room = workers.meters[1].of(version).room
    assert room is not None
    one.grew("acme", "Account", MiB - 10, counted=True)
    assert room.why_not(10) == ""
    two.grew("acme", "Board", 10, counted=True)
    assert "at most 1 MiB" in room.why_not(1)
    one.grew("acme", "Account", -100, counted=True)
    assert room.why_not(100) == ""
    assert room.why_not(101)
    assert room.refused == 2


def test_while_actors_are_counted_what_was_known_before_goes_on_being_used(tmp_path: Path) -> None:
    before, version = Workers(1, open_page(tmp_path, 1)), version_of(storage_mb=1)
    before.serve(version)
    before.meters[0].stored.grew("acme", "Account", MiB - 5, counted=True)
    after = Workers(1, open_page(tmp_path, 1))
    stored = after.meters[0].stored
    stored.begin()
    after.serve(version)
    stored.grew("acme", "Account", 3, counted=False)
    assert stored.left(stored.tenant("acme"), MiB) == 2
    stored.found("acme", "Account", 1000)
    stored.end()
    assert stored.left(stored.tenant("acme"), MiB) == MiB - 1000


def test_a_functions_share_of_the_storage_is_what_actors_of_its_classes_hold_in_all_workers(tmp_path: Path) -> None:
    workers = Workers(2, open_page(tmp_path, 2))
    account = version_of("acme", "f1", types=("Account", "Book"), own={"storage_mb": 1}, storage_mb=3)
    board = version_of("acme", "f2", types=("Board",), storage_mb=3)
    workers.serve(account, board)
    one, two = (meters.stored for meters in workers.meters)
    room, neighbour = (workers.meters[0].of(version).room for version in (account, board))
    assert room is not None
    assert neighbour is not None
    one.grew("acme", "Account", MiB // 2, counted=True)
    two.grew("acme", "Book", MiB // 2, counted=True)
    assert "this function's actors hold at most 1 MiB" in room.why_not(1)
    assert (neighbour.why_not(2 * MiB), room.why_not(0)) == ("", "")
    one.grew("acme", "Board", 2 * MiB, counted=True)
    assert "your actors hold at most 3 MiB" in neighbour.why_not(1)
    one.grew("acme", "Board", -2 * MiB, counted=True)
    two.grew("acme", "Book", -100, counted=True)
    assert room.why_not(100) == ""
    assert room.why_not(101)
    assert (two.of_types("acme", ["Book", "Board", "None"]), two.of_types("other", ["Book"])) == (MiB // 2 - 100, 0)


def test_what_actors_hold_goes_with_their_class_from_function_to_function(tmp_path: Path) -> None:
    workers = Workers(1, open_page(tmp_path, 1))
    old = version_of("acme", "f1", types=("Account", "Book"), own={"storage_mb": 1})
    without = version_of("acme", "f1", types=("Account",), own={"storage_mb": 1})
    heir = version_of("acme", "f2", types=("Book",), own={"storage_mb": 1})
    workers.serve(old)
    meters = workers.meters[0]
    meters.stored.grew("acme", "Account", 10, counted=True)
    meters.stored.grew("acme", "Book", 500, counted=True)

    def left() -> list[int]:
        stored = meters.stored
        sums = stored.function("f1"), stored.function("f2"), stored.tenant("acme")
        return [MiB - stored.left(one, MiB) for one in sums]

    assert left() == [510, 0, 510]
    workers.serve(without, instead_of=old)
    meters.stored.grew("acme", "Book", 1, counted=True)
    assert left() == [10, 0, 511]
    workers.serve(heir)
    assert left() == [10, 501, 511]
    workers.serve(instead_of=heir)
    assert left() == [10, 501, 511], "a function that serves nothing, as in quarantine, keeps what it stores"
    assert meters.stored.of_functions() == {"f1": 10, "f2": 501}
    workers.serve(old, instead_of=without)
    assert left() == [511, 0, 511], "until another has the class"
    workers.serve(without, instead_of=old)
    workers.serve(heir)
    assert left() == [10, 501, 511]
    again = Workers(1, open_page(tmp_path, 1))
    stored = again.meters[0].stored
    stored.begin()
    again.serve(without, heir)
    stored.grew("acme", "Book", 9, counted=False)
    assert stored.left(stored.function("f2"), 1_000) == 490, "until all is counted what was known before goes on"
    stored.found("acme", "Book", 300)
    stored.end()
    assert stored.left(stored.function("f2"), 1_000) == 700


def test_actors_in_memory_are_shared_out_and_the_idle_make_room(tmp_path: Path) -> None:
    workers, version, idle = Workers(2, open_page(tmp_path, 2)), version_of(activations=3), [False, True]
    workers.serve(version)
    meters = workers.meters[0]
    meters.evictors.append(lambda tenant, function: tenant == "acme" and function is None and idle.pop())
    for _ in range(2):
        meters.make_room(version)
        meters.activated(version)
    meters.make_room(version)
    with pytest.raises(ActorOverloadedError, match="quota"):
        meters.make_room(version)
    meters.deactivated(version)
    meters.make_room(version)


@pytest.mark.parametrize(
    "text", ["requests_per_second", "nothing=1", "functions=none", "functions=1.5", "storage_mb=0"]
)
def test_what_is_no_quota_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"quota|number|NAME=VALUE"):
        parsed(text)


def test_a_manifest_lowers_its_tenants_quotas_and_never_raises_them() -> None:
    text = HEAD + "[limits]\nrequests_per_second = 5\nstorage_mb = 0.5\n"
    lowered, _ = parse_manifest(text, quotas=Quotas(requests_per_second=5))
    assert dict(lowered.quotas) == {"requests_per_second": 5, "storage_mb": 0.5}
    with pytest.raises(ManifestError, match="over your quota"):
        parse_manifest(HEAD + "[limits]\nrequests_per_second = 6\n", quotas=Quotas(requests_per_second=5))


async def test_quotas_of_a_tenant_reach_what_serves_and_outlive_a_restart(tmp_path: Path) -> None:
    host = await Host(tmp_path).start()
    await host.registry.create_tenant("acme")
    function = await host.registry.create_function("acme", "account")
    await host.ship(function, manifest("Account"), component("Account"))
    await host.registry.quotas.change("acme", {"requests_per_second": 7, "memory_mb": 64, "functions": 1})
    await host.restart()
    version = host.registry.route(function.label)
    assert version is not None
    assert (version.quotas.requests_per_second, version.limits.memory_bytes_max) == (7, 64 * MiB)
    with pytest.raises(QuotaReached):
        await host.registry.create_function("acme", "second")
    with pytest.raises(UsageError, match="no quota"):
        await host.registry.quotas.change("acme", {"nothing": 1})
    await host.registry.quotas.change("acme", {"functions": "default"})
    await host.registry.create_function("acme", "second")
    await host.stop()


async def test_what_was_used_outlives_a_power_cut_but_for_the_last_seconds(tmp_path: Path) -> None:
    host = await Host(tmp_path).start()
    await host.registry.create_tenant("acme")
    function = await host.registry.create_function("acme", "account")
    counted = Counted()
    counted.add("ok", 0.01, 0.002, 10, 20)
    counted.over["requests_per_second"] = 3

    def usage(later_ms: float = 0.0) -> Usage:
        return Usage(host.engine, host.committer, ManualClock(host.clock.now() + later_ms), host.registry.by_id)

    noted = Usage(host.engine, host.committer, host.clock, host.registry.by_id)
    noted.add(function.id, "request", counted)
    host.clock.advance(WRITE_S)
    noted.add(function.id, "request", counted)
    await host.restart()
    ((_, use),) = usage().days("acme", 7)
    assert (use.requests, use.cpu_ms, use.over) == (1, 2.0, {"requests_per_second": 3})
    assert [day.requests for _, day in usage(DAY_MS).days("acme", 7)] == [1]
    usage().forget("acme")
    assert list(usage().days("acme", 7)) == []
    await host.stop()
