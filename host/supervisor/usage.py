"""What a tenant or a function uses now and has used: from the workers, the page that they share, and the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from host.cluster.kinds import Kind
from host.model.clock import Clock
from host.model.limits import MiB
from host.model.quotas import NAMES, OF_FUNCTION, Value, of_function
from host.quotas.bucket import Bucket
from host.quotas.page import CPU, OUTBOUND, RATES, REQUESTS, Page, function_key, tenant_key
from host.registry.records import FunctionRecord
from host.registry.registry import Registry
from host.registry.usage import Usage, Use
from host.supervisor.staff import Staff

_RATES = {
    "requests_per_second": (REQUESTS, 1.0),
    "cpu_ms_per_minute": (CPU, 60.0),
    "outbound_per_minute": (OUTBOUND, 60.0),
}


class Shown(NamedTuple):
    """`used` is None for what is not counted: a quota of each function or call, or a rate without a quota. `set`: the
    operator set it for this tenant; of a function's, its manifest did.
    """

    name: str
    limit: Value
    set: bool
    used: float | None


class AllUsage:
    """One per control process."""

    def __init__(self, registry: Registry, usage: Usage, page: Page, staff: Staff, clock: Clock) -> None:
        self._registry = registry
        self._usage = usage
        self._page = page
        self._staff = staff
        self._clock = clock

    async def quotas(self, tenant: str) -> tuple[list[Shown], bool]:
        """Each quota with what is used of it now; whether all storage is counted. Raises NotFound."""
        quotas, own = self._registry.quotas.of(tenant), self._registry.quotas.set_for(tenant)
        now, counted = await self._now(tenant)
        functions = self._registry.functions(tenant)
        versions = [self._registry.versions(function.id) for function in functions]
        serving = [version for function in functions for version in self._registry.serving(function)]
        types = {name for version in serving for name in version.actor_types}
        used: dict[str, float | None] = {
            "functions": len(functions),
            "versions": max(map(len, versions), default=0),
            "actor_types": len(types),
            **now,
            **self._rates(tenant_key(tenant), {name: getattr(quotas, name) for name in _RATES}),
        }
        return [Shown(name, getattr(quotas, name), name in own, used.get(name)) for name in NAMES], counted

    async def quotas_of(self, function: FunctionRecord) -> tuple[list[Shown], bool]:
        """Those that a function may lower for itself, as `quotas`: its own, or its tenant's. Of a split they are those
        of the version with the most weight. `used` is what the function uses; of a rate only if it has its own.
        """
        quotas, serving = self._registry.quotas.of(function.tenant), self._registry.serving(function)
        own = next((one.manifest.quotas for one in serving if one.number == function.serving), {})
        types = sorted({name for version in serving for name in version.actor_types})
        now, counted = await self._now(function.tenant, function.id, types)
        used = {**now, **self._rates(function_key(function.id), {name: own.get(name) for name in _RATES})}
        limits = {name: of_function(own.get(name), getattr(quotas, name)) for name in OF_FUNCTION}
        return [Shown(name, *limits[name], used.get(name)) for name in OF_FUNCTION], counted

    def days(self, tenant: str, days: int, function_id: str | None = None) -> Iterator[tuple[str, Use]]:
        """See `Usage.days`."""
        return self._usage.days(tenant, days, function_id)

    async def _now(
        self, tenant: str, function_id: str | None = None, types: Sequence[str] = ()
    ) -> tuple[dict[str, float | None], bool]:
        """What workers hold of a tenant, or of its function with these types; whether all storage is counted."""
        answers = (await self._staff.ask_all(Kind.USED, [tenant, function_id, types])).values()
        held = {
            "activations": sum(one["activations"] for one in answers),
            "storage_mb": round(sum(one["stored_bytes"] for one in answers) / MiB, 6),
        }
        return held, not any(one["counting"] for one in answers)

    def _rates(self, key: bytes, rates: Mapping[str, Value]) -> Mapping[str, float | None]:
        row, now = self._page.find(key), self._clock.monotonic()
        found: dict[str, float | None] = {}
        for name, (place, per_s) in _RATES.items():
            rate = rates[name]
            if rate is not None:
                cells, at = self._page.rates, (row or 0) * RATES + place
                found[name] = 0.0 if row is None else round(Bucket(name, rate, per_s, cells, at).used(now), 3)
        return found
