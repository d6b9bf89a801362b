"""What a tenant uses now, and what it has used: from the workers, the page that they share, and the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from host.cluster.kinds import Kind
from host.model.clock import Clock
from host.model.limits import MiB
from host.model.quotas import NAMES, Quotas, Value
from host.quotas.bucket import Bucket
from host.quotas.page import CPU, OUTBOUND, RATES, REQUESTS, Page, tenant_key
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
    operator set it for this tenant.
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
        answers = (await self._staff.ask_all(Kind.USED, tenant)).values()
        functions = self._registry.functions(tenant)
        versions = [self._registry.versions(function.id) for function in functions]
        serving = [version for function in functions for version in self._registry.serving(function)]
        types = {name for version in serving for name in version.actor_types}
        used: dict[str, float | None] = {
            "functions": len(functions),
            "versions": max(map(len, versions), default=0),
            "actor_types": len(types),
            "activations": sum(one["activations"] for one in answers),
            "storage_mb": round(sum(one["stored_bytes"] for one in answers) / MiB, 6),
            **self._rates(tenant, quotas),
        }
        shown = [Shown(name, getattr(quotas, name), name in own, used.get(name)) for name in NAMES]
        return shown, not any(one["counting"] for one in answers)

    def days(self, tenant: str, days: int, function_id: str | None = None) -> Iterator[tuple[str, Use]]:
        """See `Usage.days`."""
        return self._usage.days(tenant, days, function_id)

    def _rates(self, tenant: str, quotas: Quotas) -> Mapping[str, float | None]:
        row, now = self._page.find(tenant_key(tenant)), self._clock.monotonic()
        found: dict[str, float | None] = {}
        for name, (place, per_s) in _RATES.items():
            rate = getattr(quotas, name)
            if rate is not None:
                cells, at = self._page.rates, (row or 0) * RATES + place
                found[name] = 0.0 if row is None else round(Bucket(name, rate, per_s, cells, at).used(now), 3)
        return found
