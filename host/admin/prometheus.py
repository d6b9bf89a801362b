"""/metrics: the host as Prometheus reads it. For operators, or for everybody on a loopback address if they say so.

What workers count lives in them and begins anew with a worker; sums over functions live in the control process. Labels
are bounded: one worker is one value, and of functions at most `FUNCTIONS_MAX`, the oldest; the others are one together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from quart import Blueprint
from quart.wrappers import Response

from host.admin.contract import Media
from host.admin.services import AdminServices, services
from host.backup.backups import Backups
from host.model.errors import Unavailable
from host.telemetry import histogram
from host.telemetry.batch import Counted
from host.telemetry.observed import Observed

blueprint = Blueprint("prometheus", __name__)

FUNCTIONS_MAX = 500
Names = Mapping[str, tuple[str, str]]
OTHERS = ("", "(others)")
BUCKET_ENDS = range(histogram.bucket_of(2.0**-10), histogram.LAST, histogram.PER_DOUBLING)
"""From a millisecond on, each twice the one before."""


class _Shown(NamedTuple):
    name: str
    help: str
    counts: bool = True


OF_WORKERS: Mapping[str, _Shown] = {
    "activations": _Shown("activations", "Actors in memory.", False),
    "actor_mailbox_waits": _Shown("mailbox_waits", "Turns that waited for others of their actor."),
    "actor_mailbox_wait_s": _Shown("mailbox_wait_seconds", "How long turns waited for others of their actor."),
    "actor_mailboxes_full": _Shown("mailbox_refusals", "Turns that were refused because the mailbox was full."),
    "alarms_waiting": _Shown("alarms_firing", "Alarms whose turn is under way.", False),
    "calls": _Shown("calls", "Calls of guests that have begun and not ended.", False),
    "commits": _Shown("commits", "Batches written to storage."),
    "fetches": _Shown("outbound_fetches", "Requests to the outside under way.", False),
    "guests_burning": _Shown("background_guests", "Guests that run on the background thread.", False),
    "handlers_busy": _Shown("handlers_busy", "Requests that a handler runs.", False),
    "handlers_refused": _Shown("handler_refusals", "Requests refused because too many were waiting."),
    "handlers_waiting": _Shown("handlers_waiting", "Requests that wait for a place.", False),
    "handlers_warm": _Shown("handlers_warm", "Idle instances of handlers.", False),
    "instances": _Shown("wasm_instances", "WebAssembly instances.", False),
    "lines_dropped": _Shown("worker_log_lines_dropped", "Log lines that were pushed out before they were handed on."),
    "links": _Shown("worker_links", "Open links to other workers.", False),
    "links_unanswered": _Shown("worker_links_unanswered", "Calls sent to other workers and not answered.", False),
    "rounds": _Shown("scheduler_rounds", "Rounds of the scheduler."),
    "spans_dropped": _Shown("worker_spans_dropped", "Spans that were pushed out before they were handed on."),
    "sync_s": _Shown("sync_seconds", "Time spent in syncs of storage."),
    "syncs": _Shown("syncs", "Syncs of storage."),
}
"""By what a worker calls them. Their names here begin with `tenure_`."""


@blueprint.get("/metrics")
async def metrics() -> Annotated[Response, Media("text/plain", "The text format of Prometheus.")]:
    """Count the whole host, for Prometheus."""
    admin = services()
    if admin.observed is None or admin.counts is None:
        raise Unavailable("This host counts nothing.")
    workers, names = await admin.counts(), _names(admin)
    families = [
        *_of_workers(workers),
        *_of_control(admin, admin.observed),
        *_of_functions(names, admin.observed),
        _instances(names, workers),
        _stored(names, workers),
        *await _of_backups(admin.backups),
    ]
    return Response(generate_latest(_Collected(families)), content_type=CONTENT_TYPE_LATEST)


class _Collected:
    """What `generate_latest` calls a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_workers(workers: Mapping[int, Any]) -> Iterator[Metric]:
    for key, (name, text, counts) in OF_WORKERS.items():
        family = (CounterMetricFamily if counts else GaugeMetricFamily)(f"tenure_{name}", text, labels=["worker"])
        for slot, said in workers.items():
            family.add_metric([str(slot)], said["host"][key])
        yield family


def _of_control(admin: AdminServices, observed: Observed) -> Iterator[Metric]:
    restarts = CounterMetricFamily("tenure_worker_restarts", "Workers that were replaced.", labels=["worker"])
    up = GaugeMetricFamily("tenure_worker_up", "Whether a worker serves.", labels=["worker"])
    for worker in admin.workers():
        restarts.add_metric([str(worker.slot)], worker.restarts)
        up.add_metric([str(worker.slot)], float(worker.state == "serving"))
    yield from (restarts, up)
    journal = observed.journal
    yield CounterMetricFamily("tenure_log_lines", "Log lines that were kept.", value=journal.lines)
    yield CounterMetricFamily(
        "tenure_log_lines_dropped", "Log lines that the disk did not take.", value=journal.dropped
    )
    if observed.spans is not None:
        yield CounterMetricFamily("tenure_spans", "Spans that the collector took.", value=observed.spans.exported)
        yield CounterMetricFamily("tenure_spans_dropped", "Spans that it did not.", value=observed.spans.dropped)
    if admin.upkeep is not None:
        yield CounterMetricFamily("tenure_versions_pruned", "Versions that went by rule.", value=admin.upkeep.removed)
    serving = len(admin.registry.deployed())
    yield GaugeMetricFamily("tenure_functions_serving", "Functions with a deployed version.", value=serving)


async def _of_backups(backups: Backups | None) -> list[Metric]:
    """None for a host that has no backup yet: an alert on its age has to be one on its absence, too."""
    moment = await backups.newest() if backups is not None else None
    if moment is None:
        return []
    name, text = "tenure_backup_newest_timestamp_seconds", "When the newest complete backup was begun."
    return [GaugeMetricFamily(name, text, value=moment.timestamp())]


def _of_functions(names: Names, observed: Observed) -> Iterator[Metric]:
    sums: dict[tuple[str, str, str], Counted] = {}
    for function_id, kinds in observed.metrics.totals():
        for kind, counted in kinds.items():
            sums.setdefault((*names.get(function_id, OTHERS), kind), Counted()).merge(counted)
    labels = ["tenant", "function", "kind"]
    count = CounterMetricFamily("tenure_invocations", "Invocations that ended.", labels=[*labels, "outcome"])
    wall = HistogramMetricFamily("tenure_invocation_duration_seconds", "How long invocations took.", labels=labels)
    cpu = CounterMetricFamily("tenure_invocation_cpu_seconds", "CPU time of guests.", labels=labels)
    size = CounterMetricFamily("tenure_invocation_bytes", "Bytes in and out.", labels=[*labels, "direction"])
    for key, counted in sorted(sums.items()):
        for outcome, number in sorted(counted.outcomes.items()):
            count.add_metric([*key, outcome], number)
        ends = [(repr(histogram.end_of(end)), float(histogram.below(counted.buckets, end))) for end in BUCKET_ENDS]
        wall.add_metric(key, [*ends, ("+Inf", float(counted.count))], counted.wall_s)
        cpu.add_metric(key, counted.cpu_s)
        size.add_metric([*key, "in"], counted.bytes_in)
        size.add_metric([*key, "out"], counted.bytes_out)
    yield from (count, wall, cpu, size)
    yield from _of_quotas(sums)


def _of_quotas(sums: Mapping[tuple[str, str, str], Counted]) -> Iterator[Metric]:
    labels = ["tenant", "function"]
    fetches = CounterMetricFamily("tenure_outbound_requests", "Requests to the outside.", labels=[*labels, "kind"])
    over = CounterMetricFamily(
        "tenure_quota_refusals", "What was refused because of a quota.", labels=[*labels, "quota"]
    )
    for (tenant, function, kind), counted in sorted(sums.items()):
        fetches.add_metric([tenant, function, kind], counted.fetches)
        if kind == "request":
            for quota, number in sorted(counted.over.items()):
                over.add_metric([tenant, function, quota], number)
    yield from (fetches, over)


def _instances(names: Names, workers: Mapping[int, Any]) -> Metric:
    counted = (
        ((*names.get(function_id, OTHERS), kind), number)
        for said in workers.values()
        for kind, functions in said["functions"].items()
        for function_id, number in functions.items()
    )
    text = "Instances in memory, of actors and idle handlers."
    return _summed("tenure_function_instances", text, ["tenant", "function", "kind"], counted)


def _stored(names: Names, workers: Mapping[int, Any]) -> Metric:
    counted = (
        (names.get(function_id, OTHERS), size)
        for said in workers.values()
        for function_id, size in said["stored"].items()
    )
    text = "What the actors of a function store."
    return _summed("tenure_function_stored_bytes", text, ["tenant", "function"], counted)


def _summed(name: str, text: str, labels: list[str], counted: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    """A gauge of the sums of what workers say, by the values of its labels."""
    sums: Counter[tuple[str, ...]] = Counter()
    for key, number in counted:
        sums[key] += number
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, number in sorted(sums.items()):
        family.add_metric(key, number)
    return family


def _names(admin: AdminServices) -> Names:
    """(tenant, name) of the functions that are shown one by one. Ids sort by age."""
    registry = admin.registry
    found = {
        one.id: (one.tenant, one.name)
        for tenant in registry.accounts.tenants()
        for one in registry.functions(tenant.id)
    }
    return dict(sorted(found.items())[:FUNCTIONS_MAX])
