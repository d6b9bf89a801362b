"""The way to every actor of the host, from one of its workers.

To its users this is a `Directory`: `deliver` takes a turn, whose reply gets the answer once. A turn for an actor of one
of this worker's shards goes straight to that shard's directory; any other is sent to the worker that serves the shard,
where the gate holds its answer until it is durable.

- At most once: a call is sent once. When its worker dies before the answer, the caller is told that nobody knows
  whether it was done; a call that was never sent says so with another error.
- In order: all calls from here to one worker go over one link, in the order they were delivered.
- While a worker is away, or one of this worker's own shards is not open yet, calls wait, for a bounded time and in
  bounded number.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from host.actors.actor import Actor
from host.actors.ports import STOPPING, Answer
from host.actors.turn import Turn
from host.cluster.kinds import Kind
from host.cluster.link import Done, Handlers, Link, LinkError, LinkFault, LinkRefused, Reply
from host.cluster.peer import EVERYTHING, PATIENCE_S, WAITING_MAX, Dial, Peer
from host.cluster.rings import ClusterRings
from host.cluster.shard import Shard
from host.cluster.wire import decode_answer, decode_call, encode_answer, encode_call
from host.model.clock import Clock, TimerHandle
from host.model.errors import ActorCrashedError, ActorOverloadedError
from host.model.ids import ActorId
from host.storage.layout import shard_of
from host.telemetry import log

UNKNOWN = "the worker that ran it has died: whether it was done is unknown"
AWAY = "the part of the host that holds this actor is not there: nothing was done, try again later"
FAULT = "the host failed while running it"
UNSENDABLE = "this call cannot be sent within the host: it is too large"

PLACES_MAX = 50_000

OF_ACTORS, NEEDED = EVERYTHING + 1, EVERYTHING + 2
"""Urgencies: calls that turns make, and those that turns of the called worker wait for."""

HOLD_TURNS_S = 1.0
"""How long calls of other workers' actors are held for a worker that is being replaced."""

_log = log.get("cluster")


class _Held(NamedTuple):
    """A call of an actor whose shard is not open yet."""

    until: float
    actor: ActorId
    turn: Turn


class ClusterDirectory:
    """Worker `slot` of `workers`, on a data folder of `shards` shards. Everything runs on the loop."""

    def __init__(self, slot: int, workers: int, shards: int, clock: Clock, dial: Dial | None = None) -> None:
        self.slot = slot
        self.shards: dict[int, Shard] = {}
        self._workers = workers
        self._shard_count = shards
        self._clock = clock
        self._dial = dial
        self._peers: dict[int, Peer] = {}
        self._held: dict[int, deque[_Held]] = {}
        self._places: dict[ActorId, int] = {}  # shards of actors that were called: a hash each time would cost more
        self._holds: dict[int, TimerHandle] = {}
        self._expiry: TimerHandle | None = None
        self._stopping = False
        # Calls of actors have numbers that no other worker uses, not even this one's next life.
        self._numbers = itertools.count(int.from_bytes(os.urandom(7), "big") + 1)
        # Turns in other workers that an actor of this one waits for, and turns here that one of another waits for.
        self.sent: dict[Turn, int] = {}
        self.arrived: dict[int, tuple[ActorId, Turn]] = {}
        self._rings = ClusterRings(self.find, self.sent, self.arrived, slot, self._slot_of, self._ask, clock)
        self.handlers: Handlers = {Kind.CALL: self._called, **self._rings.handlers}
        """For the listener that other workers reach this one at."""

    @property
    def own(self) -> list[int]:
        """The shards that this worker is to serve."""
        return list(range(self.slot, self._shard_count, self._workers))

    @property
    def activations(self) -> int:
        return sum(shard.directory.activations for shard in self.shards.values())

    @property
    def links(self) -> int:
        """Open ones to other workers."""
        return sum(1 for peer in self._peers.values() if peer.link is not None)

    @property
    def links_unanswered(self) -> int:
        return sum(peer.unanswered for peer in self._peers.values())

    @property
    def alarms_waiting(self) -> int:
        """Alarms whose turn is under way."""
        return sum(shard.alarms.waiting for shard in self.shards.values())

    # --- who serves what ----------------------------------------------------------------------------------------------

    def open(self, shard: Shard) -> None:
        """Serve `shard` from now on; calls that waited for it are delivered, then its alarms fire."""
        self.shards[shard.number] = shard
        shard.directory.waiting = self._rings.waiting
        for held in self._held.pop(shard.number, ()):
            shard.directory.deliver(held.actor, held.turn)
        shard.start()

    def connect(self, slot: int, path: Path) -> None:
        """Worker `slot` is reached at `path` from now on. What was sent to where it was before stays sent."""
        peer = self._peers.get(slot)
        if peer is None:
            peer = self._peers[slot] = Peer(path, self.slot, {}, dial=self._dial)
            peer.start()
        else:
            if slot in self._holds:
                self._holds.pop(slot).cancel()
            peer.move(path)

    def hold(self, slot: int) -> None:
        """Keep calls for worker `slot` here until `connect` says where its successor is, so that its turns can end.

        A call that a turn of that worker waits for still goes. A turn may also wait for one that only stands before its
        call in a mailbox here: if the worker is not done after `HOLD_TURNS_S`, calls of actors go too.
        """
        peer = self._peers[slot]
        peer.hold(NEEDED)

        def let_turns_end() -> None:
            if peer.holding:
                peer.hold(OF_ACTORS)

        self._holds[slot] = self._clock.call_later(HOLD_TURNS_S, let_turns_end)

    def unanswered(self, slot: int) -> int:
        """Calls that were sent to worker `slot` and whose answer has not come."""
        return self._peers[slot].unanswered

    async def close(self) -> None:
        """Refuse what waits and what comes, close the links, then the shards. No turn may be under way."""
        self._stopping = True
        for number in list(self._held):
            for held in self._held.pop(number):
                held.turn.reply(ActorOverloadedError(STOPPING))
        if self._expiry is not None:
            self._expiry.cancel()
        self._rings.close()
        for timer in self._holds.values():
            timer.cancel()
        for peer in self._peers.values():
            await peer.close()
        while self.shards:
            _, shard = self.shards.popitem()
            await shard.close()

    # --- calls --------------------------------------------------------------------------------------------------------

    def deliver(self, actor: ActorId, turn: Turn) -> None:
        """Hand `turn` to `actor`, wherever it is; its `reply` gets the answer, possibly before this returns."""
        number = self._shard_of(actor)
        shard = self.shards.get(number)
        if shard is not None:
            shard.directory.deliver(actor, turn)
            return
        slot = number % self._workers
        if slot == self.slot:
            self._hold(number, actor, turn)
        else:
            self._send(slot, actor, turn)

    def find(self, actor: ActorId) -> Actor | None:
        """The actor, if it is in memory in this worker."""
        for shard in self.shards.values():
            found = shard.directory.find(actor)
            if found is not None:
                return found
        return None

    def _slot_of(self, actor: ActorId) -> int:
        return self._shard_of(actor) % self._workers

    def _shard_of(self, actor: ActorId) -> int:
        number = self._places.get(actor)
        if number is None:
            if len(self._places) >= PLACES_MAX:
                self._places.clear()
            number = self._places[actor] = shard_of(actor, self._shard_count)
        return number

    def _ask(self, slot: int, kind: int, payload: bytes, done: Done) -> None:
        peer = self._peers.get(slot)
        if peer is None or peer.link is None:
            done(LinkRefused(AWAY))
        else:
            peer.request(kind, payload, done, NEEDED)

    def _send(self, slot: int, actor: ActorId, turn: Turn) -> None:
        chain = turn.context.chain
        call = next(self._numbers) if chain else 0
        peer = self._peers.get(slot)
        if peer is None:
            turn.reply(ActorOverloadedError(STOPPING if self._stopping else AWAY))
            return
        try:
            payload = encode_call(actor, turn, call)
        except ValueError as error:
            _log.error("call_not_sent", type=actor.type, error=error)
            turn.reply(ActorOverloadedError(UNSENDABLE))
            return
        if chain:
            self.sent[turn] = call
        urgency = (NEEDED if peer.holding and self._has(slot, chain) else OF_ACTORS) if chain else EVERYTHING
        peer.request(Kind.CALL, payload, partial(self._answered, turn), urgency)

    def _has(self, slot: int, chain: Iterable[ActorId]) -> bool:
        return any(self._slot_of(actor) == slot for actor in chain)

    def _answered(self, turn: Turn, outcome: bytes | LinkError) -> None:
        if turn.context.chain:
            self.sent.pop(turn, None)
        answer: Answer
        if isinstance(outcome, bytes):
            answer = _decoded(outcome)
        elif isinstance(outcome, LinkRefused):
            answer = ActorOverloadedError(AWAY)
        else:
            answer = ActorCrashedError(FAULT if isinstance(outcome, LinkFault) else UNKNOWN)
        turn.reply(answer)

    def _called(self, link: Link, payload: bytes, reply: Reply) -> None:
        """A call from another worker."""

        def answered(answer: Answer) -> None:
            if number:
                del self.arrived[number]
            reply(encode_answer(answer))

        actor, turn, number = decode_call(payload, answered)
        if number:
            self.arrived[number] = (actor, turn)
        shard = self._shard_of(actor)
        found = self.shards.get(shard)
        if found is not None:
            found.directory.deliver(actor, turn)
        elif shard % self._workers == self.slot:
            self._hold(shard, actor, turn)
        else:
            _log.error("call_gone_astray", peer=link.peer, shard=shard)
            answered(ActorOverloadedError(AWAY))

    def _hold(self, shard: int, actor: ActorId, turn: Turn) -> None:
        if self._stopping:
            turn.reply(ActorOverloadedError(STOPPING))
            return
        held = self._held.setdefault(shard, deque())
        if len(held) >= WAITING_MAX:
            turn.reply(ActorOverloadedError(AWAY))
            return
        held.append(_Held(self._clock.monotonic() + PATIENCE_S, actor, turn))
        if self._expiry is None:
            self._expiry = self._clock.call_later(PATIENCE_S, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = self._clock.monotonic()
        for held in self._held.values():
            while held and held[0].until <= now:
                held.popleft().turn.reply(ActorOverloadedError(AWAY))
        left = [held[0].until for held in self._held.values() if held]
        if left and self._expiry is None:
            self._expiry = self._clock.call_later(min(left) - now, self._expire)


def _decoded(outcome: bytes) -> Answer:
    try:
        return decode_answer(outcome)
    except ValueError as error:
        _log.error("answer_not_read", error=error)
        return ActorCrashedError(FAULT)
