"""Many clients, a few accounts and everything that may go wrong, in an order that one seed decides.

A run is a walk: at each step the seed picks what happens next, a call, a moment for the guests, a fault or its end.
Time is a manual clock and syncs run on the loop, so a walk can be walked again: the same seed gives the same history.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from host.actors import turn
from host.actors.ports import Answer
from host.model.clock import ManualClock
from host.model.errors import ActorError, ActorOutputGateError
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS
from host.model.message import CallContext, HttpResponse
from tests.kit.rooms import TENANT, Rooms, open_rooms, version_of
from tests.sim.history import Operation
from tests.sim.power import PowerEngine

ACCOUNT = Path(__file__).parent / "account"
ACCOUNTS = ("alice", "bob", "carol")
CLIENTS = 8
STEPS = 400


class Walk:
    """One run. `history` is what the clients saw."""

    def __init__(self, seed: int, engine: PowerEngine | None = None) -> None:
        self.random = Random(seed)
        self.engine = engine or PowerEngine()
        self.clock = ManualClock()
        self.history: list[Operation] = []
        self.rooms: Rooms
        self._stack = AsyncExitStack()
        self._sync_held = False
        self._flush: Callable[[], None]
        self._calling: dict[int, Operation] = {}
        self._events = 0

    async def run(self, steps: int = STEPS) -> list[Operation]:
        """The history, ending with a read of every account after a last restart."""
        await self._open()
        try:
            choices = (
                (self._call, 40), (self._let_run, 30), (self._pass_time, 14), (self._hold_syncs, 2),
                (self._release_syncs, 4), (self._fail_writes, 1), (self._accept_writes, 12), (self._fail_syncs, 0.15),
                (self._evict, 3), (self._drop, 3), (self._restart, 0.7), (self._cut_power, 1.2),
                (self._cut_power_at_sync, 0.5),
            )  # fmt: skip
            for step in self.random.choices([one for one, _ in choices], [weight for _, weight in choices], k=steps):
                await step()
            await self._cut_power()
            for client, account in enumerate(ACCOUNTS):
                self._begin(client, account, "balance", 0)
            await self._settle()
        finally:
            await self._close()
        return [one for one in self.history if one.lost or one.answered < self._events]

    # What may happen.

    async def _call(self) -> None:
        idle = [client for client in range(CLIENTS) if client not in self._calling]
        if idle:
            word = self.random.choices(("deposit", "debit", "balance"), (4, 3, 2))[0]
            self._begin(self.random.choice(idle), self.random.choice(ACCOUNTS), word, self.random.randint(1, 5))

    async def _let_run(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            await asyncio.sleep(0)

    async def _pass_time(self) -> None:
        self.clock.advance(self.random.choice((0.001, 0.004, 0.010)))

    async def _hold_syncs(self) -> None:
        self._sync_held = True

    async def _release_syncs(self) -> None:
        self._sync_held = False
        self.rooms.committer.flush()

    async def _fail_writes(self) -> None:
        self.engine.write_error = OSError("no space left")

    async def _accept_writes(self) -> None:
        self.engine.write_error = None

    async def _fail_syncs(self) -> None:
        """For good: only a restart helps."""
        self.engine.sync_error = OSError("I/O error")

    async def _evict(self) -> None:
        self.rooms.directory._evict_one()

    async def _drop(self) -> None:
        self.rooms.directory.reset(ActorId(TENANT, "Account", self.random.choice(ACCOUNTS)))

    async def _restart(self) -> None:
        """In good order, as far as the disk lets it."""
        self._sync_held = False
        await self._stack.aclose()
        self._lose_calls()
        self.engine.restore(self.random.randint(0, len(self.engine.unsynced)))
        await self._open()

    async def _cut_power(self) -> None:
        """At this moment; of what was not synced, some of the first batches may be on the disk all the same."""
        self.engine.cut()
        self._lose_calls()
        await self._restart()

    async def _cut_power_at_sync(self) -> None:
        self.engine.cut_at_sync = "before" if self.random.random() < 0.5 else "after"
        await self._settle()
        await self._cut_power()

    # Within.

    def _begin(self, client: int, account: str, word: str, amount: int) -> None:
        operation = Operation(client, account, word, amount, self._event())  # type: ignore[arg-type]
        self.history.append(operation)
        self._calling[client] = operation
        mishap = self.random.choices(("", "throw", "trap"), (30, 1, 1))[0]
        arguments = [] if word == "balance" else [amount, self.random.choice((0, 0, 0, 2, 5)), mishap]
        text = json.dumps(arguments).encode()
        work = turn.invoke(word.encode(), text, CallContext(), partial(self._end, client, operation))
        self.rooms.directory.deliver(ActorId(TENANT, "Account", account), work)

    def _end(self, client: int, operation: Operation, answer: Answer) -> None:
        if not self.engine.on or operation.lost:
            return  # the host is gone, and with it the connection
        assert self._calling.get(client) is operation, "a call was answered twice"
        del self._calling[client]
        assert not isinstance(answer, HttpResponse)
        if isinstance(answer, ActorOutputGateError):
            operation.lost = True
        elif isinstance(answer, ActorError):
            self.history.remove(operation)  # it says that nothing of it was done, and is taken at its word
        else:
            operation.answered = self._event()
            told = json.loads(answer)
            operation.ok, operation.balance = told["ok"], told["balance"]

    def _lose_calls(self) -> None:
        for operation in self._calling.values():
            operation.lost = True
        self._calling.clear()

    async def _settle(self) -> None:
        """Until every call was answered or the power is off."""
        await self._accept_writes()
        await self._release_syncs()
        for _ in range(1000):
            if not self._calling or not self.engine.on:
                return
            await self.rooms.advance(0.010)
        raise AssertionError(f"calls without an answer: {[str(one) for one in self._calling.values()]}")

    async def _open(self) -> None:
        host = replace(HOST_LIMITS, activation_idle_s=0.05)
        rooms = open_rooms(self.engine, self.clock, host, version=version_of(ACCOUNT))
        self.rooms = await self._stack.enter_async_context(rooms)
        committer = self.rooms.committer
        flush = committer.flush

        def held_flush() -> None:
            if not self._sync_held:
                flush()

        committer.flush = held_flush  # type: ignore[method-assign]
        self.rooms.scheduler.round_end[:] = [held_flush]

    async def _close(self) -> None:
        self._sync_held = False
        await self._stack.aclose()
        assert self.rooms.sandbox.stores == 0, "a store outlived its host"

    def _event(self) -> int:
        self._events += 1
        return self._events


def walk(seed: int, engine: PowerEngine | None = None, steps: int = STEPS) -> list[Operation]:
    """The history of the run with this seed. Not to be called from a running loop."""
    return asyncio.run(Walk(seed, engine).run(steps))
