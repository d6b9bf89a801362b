"""What the admin API works on: `host.server` gives it to `create_admin_app`, a blueprint asks `services()` for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from quart import current_app

from host.admin.tries import Tries
from host.backup.backups import Backups
from host.model.clock import SystemClock
from host.registry.departures import Departures
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.registry.stacks import Stacks
from host.registry.upkeep import Upkeep
from host.supervisor.actors import AllActors
from host.supervisor.alarms import AlarmSource
from host.supervisor.supervisor import Shown
from host.supervisor.usage import AllUsage
from host.telemetry.observed import Observed
from host.telemetry.segments import Entry

EXTENSION = "tenure"


Counts = Callable[[], Awaitable[Mapping[int, Any]]]
"""What each worker counts, by slot: {"host": {name: number}, "functions": {kind: {function id: instances}}, "stored":
{function id: bytes}}.
"""


@dataclass(frozen=True, slots=True)
class AdminServices:
    """`url(label)` is where a function is reached, such as `http://account-0198c2c58a.localhost:8787`.

    `await status()` returns what the whole host has to say for itself (JSON-able: version, uptime_s, counts, ...). It
    is shown to operators; of it a tenant sees `version` and `uptime_s` only. Without `alarms` (an admin plane that
    runs no actors) the alarms' routes answer 503, without `actors` those of actors, without `departures` the deletion
    of a tenant, and without `observed`, `counts` and `usage` those of logs, metrics and usage. `metrics_open`: /metrics
    asks for no key. Without `backups` the routes of backups answer 503; without `upkeep` nobody applies rules.
    """

    registry: Registry
    publisher: Publisher
    url: Callable[[str], str]
    status: Callable[[], Awaitable[Mapping[str, Any]]]
    alarms: AlarmSource | None = None
    departures: Departures | None = None
    actors: AllActors | None = None
    observed: Observed | None = None
    counts: Counts | None = None
    usage: AllUsage | None = None
    workers: Callable[[], Sequence[Shown]] = tuple
    metrics_open: bool = False
    backups: Backups | None = None
    stacks: Stacks | None = None
    upkeep: Upkeep | None = None
    tries: Tries = field(default_factory=lambda: Tries(SystemClock()))

    async def with_stacks(self, function_id: str, lines: list[Entry]) -> list[Entry]:
        """Lines of a function's log with places in its author's sources, where that can be known."""
        return lines if self.stacks is None else await self.stacks.shown(function_id, lines)


def services() -> AdminServices:
    return cast(AdminServices, current_app.extensions[EXTENSION])
