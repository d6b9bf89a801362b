"""The control process's own rooms: the registry, publishing, and the admin API. It never runs a guest.

Wiring, as `server`; what only the admin API needs is imported when that is made, when workers serve already. What it
knows of workers goes through `Staff`: they are told what serves and asked for what only they know, whether they are
processes or, in `tenure dev` and tests, in this one.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

from host.backup.backups import Backups
from host.backup.snapshot import Snapshots
from host.cluster.kinds import Kind
from host.cluster.link import Link, Reply
from host.config import ServeConfig
from host.confine.process import Confined, in_all
from host.dns import Resolver
from host.gateway.listen import AsgiApp
from host.model.clock import Clock
from host.model.errors import TenureError, Unavailable
from host.model.ids import ActorId, host_label
from host.model.version import mark_of
from host.quotas.page import Page, forget_others, function_key, open_page, tenant_key
from host.registry.departures import Departures
from host.registry.deployments import in_quarantine, shares
from host.registry.first_start import OPERATOR_KEY_FILE, ensure_operator_key
from host.registry.publish import Publisher
from host.registry.records import FunctionRecord
from host.registry.registry import Registry
from host.registry.sealing import open_key_ring
from host.registry.serving import Versions
from host.registry.stacks import Stacks
from host.registry.upkeep import Upkeep
from host.registry.usage import Usage
from host.sandbox.component import Compiler
from host.storage.blobs import BlobStore
from host.storage.commit import Committer
from host.storage.layout import Layout, shard_of
from host.storage.upgrade import DataLock, open_control, prepare
from host.supervisor.erasing import AllActorData
from host.supervisor.spec import RUN_FOLDER
from host.supervisor.staff import Staff
from host.supervisor.supervisor import Shown
from host.supervisor.usage import AllUsage
from host.telemetry import log
from host.telemetry.observed import Observed
from host.telemetry.otlp import Exporter

GRACE_S = 10.0
LOGS_FOLDER = "logs"

_log = log.get("control")


class Control:
    """Its attributes are the rooms; `listen_url` and `admin_url` say where the host is reached."""

    def __init__(self, config: ServeConfig, clock: Clock, page: Page | None = None) -> None:
        """`page` is for a host in one process; several share the one that lies in the run folder."""
        self.config = config
        self.clock = clock
        self._given_page = page
        self.listen_url = ""
        self.admin_url = ""
        self.tls_url = ""
        self.operator_key = ""
        self.new_operator_key = False
        self.layout: Layout
        self.page: Page
        self.usage: AllUsage
        self.staff: Staff
        self.backups: Backups
        self.observed: Observed
        self.registry: Registry
        self.publisher: Publisher
        self.stacks: Stacks
        self.departures: Departures
        self.upkeep: Upkeep
        self.egress: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
        self.workers: Callable[[], list[Shown]] = _this_process
        self._started = time.monotonic()

    async def build(self, stack: AsyncExitStack) -> None:
        """Start every room but the admin API's listener. `stack` is told how to stop them.

        Raises OpenError (the data folder), OSError.
        """
        data = self.config.data_dir.absolute()
        lock = await asyncio.to_thread(DataLock, data)
        stack.callback(lock.release)
        self.layout = await asyncio.to_thread(prepare, data, self.config.workers)
        storage = await asyncio.to_thread(open_control, data)
        stack.callback(storage.close)
        committer = Committer(storage, self.clock)
        stack.push_async_callback(committer.close)
        self.staff = Staff(lambda: self.registry.changes())
        snapshots = Snapshots(data, self.layout, storage, self.staff, self._slots)
        self.backups = Backups(data, self.config.backups_dir, snapshots)
        await asyncio.to_thread(self.backups.remove_left)
        stack.push_async_callback(self.backups.close)
        ring = await asyncio.to_thread(open_key_ring, data, self.config.secrets_key)
        self.registry = Registry(
            storage,
            committer,
            self.clock,
            spread=self.staff.spread,
            ring=ring,
            quotas=self.config.quotas,
            keep=self.config.keep,
            base_domain=self.config.base_domain,
            resolver=Resolver(self.config.dns),
        )
        await self.registry.load()
        given = self._given_page
        self.page = given if given is not None else await asyncio.to_thread(self._shared_page, data / RUN_FOLDER)
        self.registry.on_change(self._give_rows)
        self._use = Usage(storage, committer, self.clock, self.registry.by_id)
        stack.callback(self._use.write)
        self.usage = AllUsage(self.registry, self._use, self.page, self.staff, self.clock)
        spans = None
        if self.config.otlp_endpoint:
            spans = Exporter(self.config.otlp_endpoint, importlib.metadata.version("tenure"), self.clock)
            stack.push_async_callback(spans.close)
        self.observed = Observed(data / LOGS_FOLDER, self.clock, self.registry.function_ids, spans)
        self.observed.on_counted = self._use.add
        self.observed.journal.start()
        stack.push_async_callback(self.observed.journal.close)
        self.registry.on_change(self._forget_observed)
        blobs = await asyncio.to_thread(BlobStore, data / "blobs")
        compiler = Compiler(self.config.compiled_dir, confine=self.config.confine)
        self.publisher = Publisher(self.registry, blobs, compiler, data / "work")
        self.stacks = Stacks(self.registry, blobs)
        await self.publisher.start()
        stack.push_async_callback(self.publisher.close)
        self.upkeep = Upkeep(self.registry, self.publisher, self.clock, self.observed.say)
        self.upkeep.start()
        stack.push_async_callback(self.upkeep.close)
        actor_data = AllActorData(self.staff, self._slots)
        self.departures = Departures(self.registry, self.publisher, actor_data, self._use.forget)
        self.departures.resume()
        stack.push_async_callback(self.departures.close)
        self.new_operator_key = await ensure_operator_key(data, self.registry)
        self.operator_key = await asyncio.to_thread(_read_key, data / OPERATOR_KEY_FILE)

    async def listen(self, stack: AsyncExitStack, sock: socket.socket) -> None:
        """Answer admin requests from `sock`."""
        self.admin_url = f"http://{self.config.admin._replace(port=sock.getsockname()[1])}"
        from host.gateway.hypercorn_edge import HypercornEdge

        admin = HypercornEdge(self.admin_app(), sock)
        await admin.start()
        stack.push_async_callback(admin.stop, GRACE_S)
        stack.callback(self.observed.journal.dismiss)

    def noted(self, _link: Link, payload: bytes, _reply: Reply) -> None:
        """A worker posts what guests logged there, and how invocations went."""
        self.observed.take(payload)

    def admin_app(self) -> AsgiApp:
        """The admin API, and the dashboard beside it."""
        from host.admin.app import create_admin_app
        from host.admin.services import AdminServices
        from host.dashboard.mount import WithDashboard
        from host.supervisor.actors import AllActors
        from host.supervisor.alarms import AllAlarms, RemoteAlarms

        def alarms_of(slot: int) -> RemoteAlarms:
            return RemoteAlarms(partial(self.staff.ask, slot))

        def sources() -> list[RemoteAlarms]:
            return [alarms_of(slot) for slot in self.staff.slots]

        alarms = AllAlarms(sources, lambda actor: alarms_of(self._slot_of(actor)))
        rooms = (self.registry, self.publisher, self.function_url, self.status, alarms, self.departures)
        services = AdminServices(
            *rooms,
            AllActors(self.layout.shards, self._ask_shard, self._call_shard),
            observed=self.observed,
            stacks=self.stacks,
            counts=partial(self.staff.ask_all, Kind.COUNTS),
            usage=self.usage,
            workers=lambda: self.workers(),
            metrics_open=self.config.metrics_open,
            backups=self.backups,
            upkeep=self.upkeep,
        )
        admin = cast(AsgiApp, create_admin_app(services))
        return WithDashboard(admin, self.clock, self.config.trusted_proxies)

    def function_url(self, label: str) -> str:
        """Where a function is reached, such as http://account-0198c2c58a.localhost:8787."""
        if self.config.public_url:
            scheme, _, rest = self.config.public_url.partition("://")
            return f"{scheme}://{label}.{rest}"
        port = int(self.listen_url.rpartition(":")[2])
        return f"http://{label}.{self.config.base_domain}" + ("" if port == 80 else f":{port}")

    async def status(self) -> Mapping[str, Any]:
        """What an operator sees of the whole host. Counts, summed over all workers; times in seconds."""
        answers = await self.staff.ask_all(Kind.STATUS)
        confined = [Confined.from_json(answer.pop("confined")) for answer in answers.values()]
        return {
            "version": importlib.metadata.version("tenure"),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "functions_serving": len(self.registry.deployed()),
            "quarantined": [f"{one.tenant}/{one.name} version {one.serving}" for one in self._refused()],
            "workers": [shown._asdict() for shown in self.workers()],
            "egress": await self._egress(),
            "confined": in_all(confined).to_json(),
            **summed(answers.values()),
        }

    async def not_confined(self) -> list[str]:
        """What an operator should know is missing of the confinement of the host's processes."""
        status = await self.status()
        said = {"workers": status["confined"], "the egress process": (status["egress"] or {}).get("confined")}
        return [
            f"{who} cannot be confined fully: {sentence}"
            for who, confined in said.items()
            if confined is not None
            for sentence in confined["missing"]
        ]

    async def _egress(self) -> Mapping[str, Any] | None:
        """None for a host that fetches in this process, or while the other is not there."""
        try:
            return await self.egress() if self.egress is not None else None
        except Unavailable:
            return None

    async def quarantine(self, mark: int) -> None:
        """Refuse the version with this mark, of which workers die; nothing happens when it serves no longer."""
        for function in self.registry.deployed():
            for number in (share.version for share in shares(function) if mark_of(function.id, share.version) == mark):
                named = {"tenant": function.tenant, "function": function.name, "version": number}
                _log.error("version_quarantined", **named)
                try:
                    await self.registry.quarantine(function.id, number)
                except TenureError as error:
                    _log.error("quarantine_failed", error=error, **named)

    def _refused(self) -> list[FunctionRecord]:
        return [function for function in self.registry.deployed() if in_quarantine(function)]

    def _slots(self) -> list[int]:
        """Of all workers that there should be."""
        return list(range(self.config.workers))

    async def _ask_shard(self, shard: int, question: Any) -> Any:
        return await self.staff.ask(shard % self.config.workers, Kind.ACTORS, [shard, question])

    async def _call_shard(self, shard: int, call: bytes) -> bytes:
        return await self.staff.request(shard % self.config.workers, Kind.CALL, call)

    def _slot_of(self, actor: ActorId) -> int:
        return shard_of(actor, self.layout.shards) % self.config.workers

    def _shared_page(self, run: Path) -> Page:
        run.mkdir(mode=0o700, exist_ok=True)
        forget_others(run, self.config.workers)
        return open_page(run, self.config.workers)

    def free_rows(self) -> None:
        """Of tenants and functions that are gone. No worker may run."""
        tenants = (tenant_key(one.id) for one in self.registry.accounts.tenants())
        self.page.keep([*tenants, *map(function_key, self.registry.function_ids())])

    def _give_rows(self, _old: Versions, new: Versions) -> None:
        """Before workers hear of it, a version has where its use is counted."""
        for version in new[:1]:
            for key in (tenant_key(version.tenant), function_key(version.function_id)):
                if self.page.claim(key) is None:
                    _log.error("quotas_page_full", tenant=version.tenant, function=version.function_name)

    def _forget_observed(self, old: Versions, new: Versions) -> None:
        """A function that is deleted takes its log lines and counts with it."""
        if old and not new:
            label = host_label(old[0].function_name, old[0].function_id)
            if self.registry.why_unavailable(label) is None:
                self.observed.forget(old[0].function_id)


def _this_process() -> list[Shown]:
    """Of a host in one process."""
    return [Shown(0, "serving", os.getpid(), 0)]


def summed(counts: Any) -> dict[str, Any]:
    """Several answers to one question about counts as one: numbers are added, flags hold if one of them does."""
    total: dict[str, Any] = {}
    for one in counts:
        for name, value in one.items():
            if isinstance(value, dict):
                total[name] = summed([total.get(name, {}), value])
            elif isinstance(value, bool):
                total[name] = total.get(name, False) or value
            else:
                total[name] = total.get(name, 0) + value
    return total


def _read_key(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
