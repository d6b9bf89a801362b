"""A worker: everything between a function's request and the disk. It serves what the control process tells it.

Wiring, as `server`: the sandbox, the handlers, the actors of its shards, and the edge that takes requests. What serves
comes from the control process and is kept, so a worker goes on without one.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from host.actors.alarms import Alarms
from host.actors.dead import TenantAlarms
from host.actors.directory import Directory
from host.actors.erase import TenantState
from host.bindings.outbound import Outbound
from host.bindings.world import Worlds
from host.cluster.kinds import Kind
from host.cluster.link import Handler, Link, Reply
from host.config import ServeConfig
from host.gateway.app import Gateway
from host.gateway.serve import HypercornEdge, UvicornEdge
from host.invoke.pool import HandlerPool
from host.model.clock import Clock
from host.model.version import Version
from host.registry import feed
from host.registry.serving import Serving
from host.sandbox.engine import Engine as Sandbox
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.commit import Committer
from host.storage.ports import Engine
from host.supervisor import alarms as all_alarms
from host.supervisor.asking import Desk
from host.telemetry.tail import Tails

GRACE_S = 10.0


class Worker:
    """Its attributes are the rooms. `handlers` answer the control process, once `build` is done."""

    def __init__(self, config: ServeConfig, clock: Clock, tails: Tails) -> None:
        self.config = config
        self.clock = clock
        self.tails = tails
        self.serving = Serving()
        self.answers: Mapping[int, Handler] = {}
        self.library: Library
        self.scheduler: Scheduler
        self.committer: Committer
        self.directory: Directory
        self.handlers: HandlerPool
        self.alarms: Alarms

    async def build(self, stack: AsyncExitStack, storage: Engine, committer: Committer) -> None:
        """Start every room but the edge. `stack` is told how to stop them."""
        clock, limits = self.clock, self.config.limits
        sandbox = Sandbox()
        stack.callback(sandbox.close)
        self.library = Library(sandbox)
        stack.callback(self.library.close)
        self.committer = committer
        self.scheduler = Scheduler(sandbox, clock)
        self.scheduler.round_end.append(committer.flush)
        outbound = Outbound(committer, self.config.outbound_permitted)
        stack.push_async_callback(outbound.close)
        worlds = Worlds(self.tails, outbound)
        self.directory = Directory(
            storage,
            committer,
            self.scheduler,
            self.library,
            clock,
            limits,
            self.serving.owner,
            worlds.of_actor,
            self.serving.why_no_owner,
        )
        stack.callback(self.directory.close)
        worlds.connect(self.directory)
        self.handlers = HandlerPool(self.scheduler, self.library, limits, worlds.of_handler)
        stack.callback(self.handlers.close)
        self.alarms = Alarms(self.directory)
        stack.callback(self.alarms.close)
        stack.callback(self.scheduler.close)
        self._retire_with(worlds)
        alarms, erase = all_alarms.answering(TenantAlarms(self.directory)), TenantState(self.directory).erase
        desk = Desk({Kind.STATUS: self._status, Kind.ERASE: erase, **alarms})
        stack.push_async_callback(desk.close)
        self.answers = {**desk.handlers, Kind.SERVE: self._serve, Kind.SNAPSHOT: self._snapshot}

    def gateway(self) -> Gateway:
        """The data plane's ASGI callable."""
        return Gateway(
            self.serving.route,
            self.handlers.fetch,
            self.config.base_domain,
            why_unavailable=self.serving.why_unavailable,
        )

    def begin(self) -> None:
        """What serves is known: alarms may fire."""
        self.alarms.start()

    async def listen(self, stack: AsyncExitStack, sock: socket.socket) -> None:
        """Take requests from `sock`."""
        edge = (UvicornEdge if self.config.edge_server == "uvicorn" else HypercornEdge)(self.gateway(), sock)
        await edge.start()
        stack.push_async_callback(edge.stop, GRACE_S)

    def _retire_with(self, worlds: Worlds) -> None:
        def changed(old: Version | None, new: Version | None) -> None:
            if old is not None:
                self.handlers.retire(old)
                worlds.retire(old)
                if new is None or new.artifact != old.artifact:
                    self.library.retire(old.artifact)

        self.serving.on_change(changed)

    # --- what the control process says and asks -----------------------------------------------------------------------

    def _serve(self, _link: Link, payload: bytes, reply: Reply) -> None:
        for change in feed.decode(payload):
            self.serving.apply(change)
        reply(b"")

    def _snapshot(self, _link: Link, payload: bytes, reply: Reply) -> None:
        self.serving.become(feed.decode(payload))
        reply(b"")

    async def _status(self, _question: object) -> dict[str, Any]:
        commits = self.committer.stats()
        return {
            "activations": self.directory.activations,
            "alarms_waiting": self.alarms.waiting,
            "handlers": {"busy": self.handlers.busy, "warm": self.handlers.warm, "waiting": self.handlers.waiting},
            "sandbox": {"stores": self.library.engine.stores, "calls": self.scheduler.calls},
            "storage": {
                "broken": self.committer.broken,
                "commits": commits.commits,
                "syncs": commits.syncs,
                "sync_ms": round(commits.sync_s * 1000, 3),
            },
        }
