"""A worker: everything between a function's request and the disk. It serves what the control process tells it.

Wiring, as `server`: the sandbox, the handlers, the actors of its shards, and the edge that takes requests. What serves
comes from the control process and is kept, so a worker goes on without one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from host.actors.dead import TenantAlarms
from host.actors.erase import TenantState
from host.backup.snapshot import ShardCopies
from host.bindings.outbound import Outbound
from host.bindings.ports import Fetching
from host.bindings.world import Worlds
from host.cluster.directory import ClusterDirectory
from host.cluster.kinds import Kind
from host.cluster.link import Handler, Link, Reply
from host.cluster.peer import Dial
from host.cluster.shard import Shard
from host.config import EdgeServer, ServeConfig
from host.confine.process import Confined
from host.gateway.app import Gateway
from host.gateway.certificates import Pair, context_of
from host.gateway.serve import Edge, Edges, UvicornEdge
from host.invoke.pool import HandlerPool
from host.model.clock import Clock
from host.model.errors import Unavailable
from host.model.ids import ActorId
from host.model.trace import Sampler
from host.quotas.meter import Meters
from host.quotas.page import Page, private_page
from host.registry import feed
from host.registry.serving import Serving, Versions
from host.sandbox.engine import Engine as Sandbox
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.layout import Layout, shard_of
from host.storage.ports import FolderLocked
from host.storage.rocks import CACHE_BYTES, RocksEngine
from host.storage.upgrade import open_shard
from host.supervisor import alarms
from host.supervisor.actors import ShardActors
from host.supervisor.asking import NO_ANSWER, Desk
from host.telemetry.recorder import Recorder

PROTOCOLS: Mapping[EdgeServer, Sequence[str]] = {"uvicorn": ("http/1.1",), "hypercorn": ("h2", "http/1.1")}
"""What each edge offers those who come with TLS."""

IN_ONE_PROCESS = Confined(missing=("nothing is confined: guests run in the same process as all else",))


LOCK_PATIENCE_S, LOCK_PAUSE_S = 5.0, 0.02


class Worker:
    """Worker `slot` of `workers`. Its attributes are the rooms; `answers` are for the control process's questions."""

    def __init__(
        self,
        config: ServeConfig,
        layout: Layout,
        clock: Clock,
        recorder: Recorder,
        *,
        slot: int = 0,
        workers: int = 1,
        dial: Dial | None = None,
        fetcher: Fetching | None = None,
        marks: memoryview | None = None,
        page: Page | None = None,
    ) -> None:
        self.config = config
        self.layout = layout
        self.clock = clock
        self.recorder = recorder
        self._sampler = Sampler(config.trace_share) if config.otlp_endpoint else None
        self.serving = Serving()
        self.cluster = ClusterDirectory(slot, workers, layout.shards, clock, dial)
        self.answers: Mapping[int, Handler] = {}
        self.confined = IN_ONE_PROCESS
        self._fetcher = fetcher or _fetcher_of(config)
        self._engines: dict[int, RocksEngine] = {}
        self._marks = marks
        self.meters = Meters(page or private_page(), slot, workers, clock, recorder.over)
        self.copies: ShardCopies
        self.library: Library
        self.scheduler: Scheduler
        self.handlers: HandlerPool
        self._worlds: Worlds
        self._edge_of = _edge_of(config.edge_server)
        self._tls: ssl.SSLContext | None = None

    async def build(self, stack: AsyncExitStack) -> None:
        """Start every room but the shards and the edge. `stack` is told how to stop them all."""
        sandbox = Sandbox()
        stack.callback(sandbox.close)
        self.library = Library(sandbox)
        stack.callback(self.library.close)
        self.scheduler = Scheduler(sandbox, self.clock, self._marks)
        self._outbound = outbound = Outbound(self._drain, self._fetcher)
        stack.push_async_callback(outbound.close)
        self.serving.on_change(self.meters.follow)
        self._worlds = Worlds(self.recorder, outbound, self.meters)
        self._worlds.connect(self.cluster)
        stack.push_async_callback(self.cluster.close)
        self.handlers = HandlerPool(self.scheduler, self.library, self.config.limits, self._worlds.of_handler)
        stack.callback(self.handlers.close)
        stack.callback(self.scheduler.close)
        self.serving.on_change(self._retire)
        every = alarms.AllAlarms(self._alarm_sources, self._alarms_of)
        actors = ShardActors(self.cluster.shards.get)
        self.copies = ShardCopies(self._engines_there, len(self.cluster.own), self.scheduler, self.clock)
        changing = {**alarms.answering(every), **actors.answering(), Kind.ERASE: self._erase}
        questions = {**self.copies.held_back(changing), **self.copies.answering()}
        desk = Desk({Kind.STATUS: self._status, Kind.COUNTS: self._counts, Kind.USED: self._used, **questions})
        stack.push_async_callback(desk.close)
        self.answers = {
            **desk.handlers,
            Kind.CALL: self.cluster.handlers[Kind.CALL],
            Kind.SERVE: self._serve,
            Kind.SNAPSHOT: self._snapshot,
        }

    async def open_shards(self) -> None:
        """Serve this worker's shards. What serves is known by now, because overdue alarms fire. Raises OpenError."""
        own = self.cluster.own
        limits = self.config.limits
        limits = replace(limits, activations_max=max(limits.activations_max // self.layout.shards, 1))
        for number in own:
            engine = self._engines[number] = await self._engine(number, CACHE_BYTES // len(own))
            rooms = (self.scheduler, self.library, self.clock, limits, self.serving.version_of, self._worlds.of_actor)
            shard = Shard(number, engine, *rooms, self.serving.why_no_owner, self.meters)
            if self._sampler is not None:
                shard.directory.new_trace = self._sampler.root
            self.cluster.open(shard)

    def _engines_there(self) -> dict[int, RocksEngine]:
        return {number: self._engines[number] for number in self.cluster.shards}

    async def _engine(self, shard: int, cache_bytes: int) -> RocksEngine:
        """Waits for a process that had the shard and is just ending. Raises OpenError."""
        data, clock = self.config.data_dir.absolute(), asyncio.get_running_loop().time
        end = clock() + LOCK_PATIENCE_S
        while True:
            try:
                return await asyncio.to_thread(open_shard, data, self.layout, shard, cache_bytes)
            except FolderLocked:
                if clock() > end:
                    raise
            await asyncio.sleep(LOCK_PAUSE_S)

    async def _drain(self) -> None:
        """Until all that was written in this worker is durable. Raises StorageBroken."""
        await asyncio.gather(*(shard.committer.drain() for shard in self.cluster.shards.values()))

    def gateway(self) -> Gateway:
        """The data plane's ASGI callable."""
        return Gateway(
            self.serving.route,
            self.handlers.fetch,
            self.config.base_domain,
            why_unavailable=self.serving.why_unavailable,
            sampler=self._sampler,
            domain=self.serving.domain,
            admit=self.meters.admit,
        )

    def use_certificates(self, pairs: Sequence[Pair]) -> None:
        """For `edge`; before the process is confined."""
        self._tls = context_of(pairs, PROTOCOLS[self.config.edge_server])

    def edge(self, sock: socket.socket, tls: socket.socket | None = None) -> Edge:
        """What takes requests from `sock`, and from `tls` with TLS, once it is started."""
        plain = self._edge_of(self.gateway(), sock)
        if tls is None:
            return plain
        return Edges([plain, self._edge_of(self.gateway(), tls, tls=self._tls)])

    def _retire(self, old: Versions, new: Versions) -> None:
        kept = {version.artifact for version in new}
        for version in old:
            if version not in new:
                self.handlers.retire(version)
                self._worlds.retire(version)
                if version.artifact not in kept:
                    self.library.retire(version.artifact)

    def _alarms_of(self, actor: ActorId) -> TenantAlarms:
        """Raises Unavailable while the actor's shard is not open."""
        shard = self.cluster.shards.get(shard_of(actor, self.layout.shards))
        if shard is None:
            raise Unavailable(NO_ANSWER)
        return TenantAlarms(shard.directory)

    def _alarm_sources(self) -> list[TenantAlarms]:
        return [TenantAlarms(shard.directory) for shard in self.cluster.shards.values()]

    async def _erase(self, tenant: str) -> None:
        """Raises Unavailable unless all shards of this worker are open: what one holds must not be forgotten."""
        shards = self.cluster.shards
        if any(number not in shards for number in self.cluster.own):
            raise Unavailable(NO_ANSWER)
        await asyncio.gather(*(TenantState(shard.directory).erase(tenant) for shard in shards.values()))

    # --- what the control process says and asks -----------------------------------------------------------------------

    def _serve(self, _link: Link, payload: bytes, reply: Reply) -> None:
        for change in feed.decode(payload):
            self.serving.apply(change)
        reply(b"")

    def _snapshot(self, _link: Link, payload: bytes, reply: Reply) -> None:
        self.serving.become(feed.decode(payload))
        reply(b"")

    async def _counts(self, _question: object) -> dict[str, Any]:
        """See `admin.services.Counts`."""
        directories = [shard.directory for shard in self.cluster.shards.values()]
        commits = [shard.committer.stats() for shard in self.cluster.shards.values()]
        actors = sum((one.activations_of_functions() for one in directories), Counter[str]())
        return {
            "functions": {"actor": actors, "handler": self.handlers.warm_of_functions()},
            "stored": self.meters.stored.of_functions(),
            "host": {
                "activations": self.cluster.activations,
                "actor_mailbox_waits": sum(one.mailbox_waits for one in directories),
                "actor_mailbox_wait_s": sum(one.mailbox_wait_s for one in directories),
                "actor_mailboxes_full": sum(one.mailboxes_full for one in directories),
                "alarms_waiting": self.cluster.alarms_waiting,
                "calls": self.scheduler.calls,
                "commits": sum(one.commits for one in commits),
                "fetches": self._outbound.under_way,
                "guests_burning": self.scheduler.in_background,
                "handlers_busy": self.handlers.busy,
                "handlers_refused": self.handlers.refused,
                "handlers_waiting": self.handlers.waiting,
                "handlers_warm": self.handlers.warm,
                "instances": self.library.engine.stores,
                "lines_dropped": self.recorder.lines_dropped,
                "links": self.cluster.links,
                "links_unanswered": self.cluster.links_unanswered,
                "rounds": self.scheduler.rounds,
                "spans_dropped": self.recorder.spans_dropped,
                "sync_s": sum(one.sync_total_s for one in commits),
                "syncs": sum(one.syncs for one in commits),
            },
        }

    async def _used(self, question: Any) -> dict[str, Any]:
        """What a tenant uses here or, with one of its functions and the types that this has, the function. See
        `supervisor.usage`.
        """
        tenant, function_id, types = question
        meters, stored = self.meters, self.meters.stored
        whole = function_id is None
        opening = any(number not in self.cluster.shards for number in self.cluster.own)
        return {
            "activations": meters.held(tenant) if whole else meters.held_of(function_id),
            "stored_bytes": stored.tenant(tenant).bytes if whole else stored.of_types(tenant, types),
            "counting": stored.counting or opening,
        }

    async def _status(self, _question: object) -> dict[str, Any]:
        shards = self.cluster.shards.values()
        commits = [shard.committer.stats() for shard in shards]
        return {
            "confined": self.confined.to_json(),
            "activations": self.cluster.activations,
            "alarms_waiting": self.cluster.alarms_waiting,
            "handlers": {"busy": self.handlers.busy, "warm": self.handlers.warm, "waiting": self.handlers.waiting},
            "sandbox": {"stores": self.library.engine.stores, "calls": self.scheduler.calls},
            "storage": {
                "broken": any(shard.committer.broken for shard in shards),
                "commits": sum(one.commits for one in commits),
                "syncs": sum(one.syncs for one in commits),
                "sync_ms": round(sum(one.sync_s for one in commits) * 1000, 3),
            },
        }


def _edge_of(server: EdgeServer) -> Callable[..., Edge]:
    """Imported while a worker process may still read any file; only where it is asked for."""
    if server == "uvicorn":
        return UvicornEdge
    from host.gateway.hypercorn_edge import HypercornEdge

    return HypercornEdge


def _fetcher_of(config: ServeConfig) -> Fetching:
    """One in this process; where there are several, the egress process alone imports what it takes."""
    from host.bindings.fetching import Fetcher

    return Fetcher(config.outbound_permitted)
