"""The quotas of what serves in one worker: asked when a request, a turn or a fetch begins, told what calls have used.

What has no quota costs a look into a dictionary. A rate is held against two buckets at most, that of the function and
that of the tenant, which lie in the page that all workers share (`page`). Actors in memory are shared out instead: each
worker may hold its part of what the tenant may, rounded up, because actors lie evenly in the shards.

CPU time is known when a call has ended. So calls begin as long as something of the minute is left, and what they take
beyond is made up for by waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import ceil

from host.model.clock import Clock
from host.model.errors import ActorOverloadedError, TooManyRequests
from host.model.quotas import Value
from host.model.version import Version
from host.quotas.bucket import Bucket
from host.quotas.page import CPU, OUTBOUND, RATES, REQUESTS, Page, function_key, private_page, tenant_key
from host.quotas.stored import Bound, Room, Stored

Note = Callable[[Version, str], None]
"""Told of each time that something was refused because of a quota, and of which."""

Evict = Callable[[str, str | None], bool]
"""(tenant, function id or None): let the longest idle of these actors leave memory; False when there is none."""

_PER_S = {"requests_per_second": 1.0, "cpu_ms_per_minute": 60.0, "outbound_per_minute": 60.0}
_PLACES = {"requests_per_second": REQUESTS, "cpu_ms_per_minute": CPU, "outbound_per_minute": OUTBOUND}


class Meter:
    """The buckets of one version: of its function first, then of its tenant."""

    __slots__ = ("cpu", "outbound", "requests", "room")

    def __init__(self, version: Version, page: Page, rows: tuple[int, int], stored: Stored) -> None:
        self.requests = _buckets(version, "requests_per_second", page, rows)
        self.cpu = _buckets(version, "cpu_ms_per_minute", page, rows)
        self.outbound = _buckets(version, "outbound_per_minute", page, rows)
        bounds = _bounds(version, stored)
        self.room = Room(stored, bounds) if bounds else None

    def spend_cpu(self, seconds: float, now: float) -> None:
        for bucket in self.cpu:
            bucket.spend(seconds * 1000, now)


class Meters:
    """One per worker, `slot` of `workers`. Everything runs on the loop."""

    def __init__(self, page: Page, slot: int, workers: int, clock: Clock, note: Note) -> None:
        self._page = page
        self._spare = page
        self._workers = workers
        self._clock = clock
        self._note = note
        self.stored = Stored(page, slot)
        self._meters: dict[Version, Meter] = {}
        self._gated: dict[Version, Meter] = {}
        self._of_tenants: Counter[str] = Counter()
        self._of_functions: Counter[str] = Counter()
        self.evictors: list[Evict] = []
        """Of the shards of this worker."""

    def follow(self, old: tuple[Version, ...], new: tuple[Version, ...]) -> None:
        """`new` serve in place of `old`; some may be among both."""
        for version in old:
            self._meters.pop(version, None)
            self._gated.pop(version, None)
        for version in new:
            meter = self._meters[version] = self._make(version)
            if meter.requests or meter.cpu:
                self._gated[version] = meter
        for version in new[:1]:  # what serves nothing for a while, as in quarantine, keeps what its actors store
            types = {name for one in new for name in one.actor_types}
            self.stored.own(version.tenant, version.function_id, types)

    def of(self, version: Version) -> Meter:
        """One that is new for a version that serves no longer."""
        return self._meters.get(version) or self._make(version)

    def over(self, version: Version, quota: str) -> None:
        """Something of the version was refused because of this quota."""
        self._note(version, quota)

    # --- when something begins ----------------------------------------------------------------------------------------

    def admit(self, version: Version) -> None:
        """A request begins. Raises TooManyRequests."""
        meter = self._gated.get(version)
        if meter is not None:
            now = self._clock.monotonic()
            if (wait_s := _wait_s(meter.cpu, now)) > 0:
                self._refuse(version, "cpu_ms_per_minute", "CPU time", wait_s)
            if (wait_s := _take(meter.requests, now)) > 0:
                self._refuse(version, "requests_per_second", "requests", wait_s)

    def _refuse(self, version: Version, quota: str, of_what: str, wait_s: float) -> None:
        self._note(version, quota)
        text = f"This function's quota of {of_what} is used up for now. Try again in {ceil(wait_s)} s."
        raise TooManyRequests(text, retry_after_s=wait_s)

    def check_turn(self, version: Version) -> None:
        """A turn begins. Raises ActorOverloadedError: it waits for the CPU time that it would take."""
        meter = self._gated.get(version)
        if meter is not None and meter.cpu and (wait_s := _wait_s(meter.cpu, self._clock.monotonic())) > 0:
            self._note(version, "cpu_ms_per_minute")
            text = f"the quota of CPU time is used up for now: try again in {ceil(wait_s)} s"
            raise ActorOverloadedError(text, retry_after_s=wait_s)

    def take_outbound(self, version: Version, meter: Meter) -> str:
        """A fetch begins: "", or why it may not."""
        wait_s = _take(meter.outbound, self._clock.monotonic())
        if wait_s <= 0:
            return ""
        self._note(version, "outbound_per_minute")
        return f"the quota of outbound requests is used up for now: try again in {ceil(wait_s)} s"

    # --- actors in memory ---------------------------------------------------------------------------------------------

    def held(self, tenant: str) -> int:
        """Actors in this worker's memory."""
        return self._of_tenants[tenant]

    def held_of(self, function_id: str) -> int:
        """The same of one function."""
        return self._of_functions[function_id]

    def activated(self, version: Version) -> None:
        self._of_tenants[version.tenant] += 1
        self._of_functions[version.function_id] += 1

    def deactivated(self, version: Version) -> None:
        for counter, key in ((self._of_tenants, version.tenant), (self._of_functions, version.function_id)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]

    def make_room(self, version: Version) -> None:
        """An actor is to come into memory; an idle one goes if need be. Raises ActorOverloadedError."""
        own, quota = version.manifest.quotas.get("activations"), version.quotas.activations
        if quota is None and own is None:
            return
        checks = (
            (own, self._of_functions[version.function_id], version.function_id),
            (quota, self._of_tenants[version.tenant], None),
        )
        for most, there, function_id in checks:
            if most is None or there < ceil(most / self._workers):
                continue
            if not any(evict(version.tenant, function_id) for evict in self.evictors):
                self._note(version, "activations")
                raise ActorOverloadedError("all actors that your quota lets be in memory are busy: try again later")

    # --- within -------------------------------------------------------------------------------------------------------

    def _make(self, version: Version) -> Meter:
        tenant, function = self._row(tenant_key(version.tenant)), self._row(function_key(version.function_id))
        if tenant is None or function is None:  # the host has more tenants and functions than the page has rows
            if self._spare is self._page:
                self._spare = private_page()
            rows = self._spare.claim(function_key(version.function_id)), self._spare.claim(tenant_key(version.tenant))
            return Meter(version, self._spare, (rows[0] or 0, rows[1] or 0), self.stored)
        self.stored.place(self.stored.tenant(version.tenant), tenant)
        self.stored.place(self.stored.function(version.function_id), function)
        return Meter(version, self._page, (function, tenant), self.stored)

    def _row(self, key: bytes) -> int | None:
        return self._page.find(key)


def _bounds(version: Version, stored: Stored) -> list[Bound]:
    bounds: list[Bound] = []
    if (own := version.manifest.quotas.get("storage_mb")) is not None:
        text = f"this function's actors hold at most {own:g} MiB together: delete something, or raise storage_mb"
        bounds.append(Bound(stored.function(version.function_id), own, text))
    if (most := version.quotas.storage_mb) is not None:
        text = f"your actors hold at most {most:g} MiB together: delete something, or ask for a larger quota"
        bounds.append(Bound(stored.tenant(version.tenant), most, text))
    return bounds


def _buckets(version: Version, quota: str, page: Page, rows: tuple[int, int]) -> tuple[Bucket, ...]:
    most: tuple[Value, Value] = (version.manifest.quotas.get(quota), getattr(version.quotas, quota))
    return tuple(
        Bucket(quota, rate, _PER_S[quota], page.rates, row * RATES + _PLACES[quota])
        for rate, row in zip(most, rows, strict=True)
        if rate is not None
    )


def _take(buckets: tuple[Bucket, ...], now: float) -> float:
    """Take one from all buckets, or from none: then in how many seconds it can be done."""
    taken: list[Bucket] = []
    for bucket in buckets:
        if (wait_s := bucket.take(now)) > 0:
            for other in taken:
                other.give_back()
            return wait_s
        taken.append(bucket)
    return 0.0


def _wait_s(buckets: tuple[Bucket, ...], now: float) -> float:
    return max((bucket.wait_s(now) for bucket in buckets), default=0.0)
