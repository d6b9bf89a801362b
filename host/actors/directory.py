"""Which actors are in memory, and the way to any of them.

Exactly one `Actor` exists for an id while it has an activation, a mailbox or a write on its way to the disk; so there
is one activation per actor. Idle ones are kept in the order they fell idle: those idle for too long go, and so does
the longest idle one when there are too many. Eviction goes a few at a time, because dropping a store costs about as
much as a call.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from host.actors.actor import Actor
from host.actors.counting import Counting
from host.actors.deadlock import Rings, path_text
from host.actors.ports import STOPPING, Refused, VersionOf, WorldOf, no_owner, nothing_refused
from host.actors.turn import Edit, Turn
from host.model.clock import Clock, TimerHandle
from host.model.errors import (
    ActorCrashedError,
    ActorDeadlockError,
    ActorError,
    ActorOverloadedError,
    ActorTypeNotFoundError,
)
from host.model.ids import ActorId
from host.model.limits import LIMITS, HostLimits, Limits
from host.model.trace import Trace
from host.model.version import Version
from host.quotas.meter import Meters
from host.quotas.stored import Room
from host.sandbox.call import Call
from host.sandbox.library import Library
from host.sandbox.scheduler import Scheduler
from host.storage.commit import Committer
from host.storage.keys import alarm_key, dead_alarm_key
from host.storage.ports import Engine, Write
from host.telemetry import log

EVICTIONS_PER_SWEEP = 32
SWEEP_S = 1.0
SWEEP_BUSY_S = 0.02

_log = log.get("actors")


class Directory:
    """The front door of the room. Everything runs on the loop."""

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        scheduler: Scheduler,
        library: Library,
        clock: Clock,
        limits: HostLimits,
        version_of: VersionOf,
        world: WorldOf,
        refused: Refused = nothing_refused,
        meters: Meters | None = None,
    ) -> None:
        self.engine = engine
        self.committer = committer
        self.scheduler = scheduler
        self.library = library
        self.clock = clock
        self.limits = limits
        self.version_of = version_of
        self.world = world
        self.refused = refused
        self._meters = meters
        self._counting: Counting | None = None
        if meters is not None:
            meters.evictors.append(self._evict_of)
        self.alarm_changed: Callable[[int], None] = _no_alarms
        self.new_trace: Callable[[], Trace | None] = _untraced
        """For a turn that no request is behind."""
        self._actors: dict[ActorId, Actor] = {}
        self.waiting: Callable[[Call], None] = Rings(self._actors.get).waiting
        """Told of each turn that has begun to wait."""
        self._idle: OrderedDict[ActorId, Actor] = OrderedDict()
        self._activations = 0
        self.mailbox_waits = 0
        self.mailbox_wait_s = 0.0
        self.mailboxes_full = 0
        """Turns that had to wait for others, how long in all, and those that found no place to."""
        self._sweeper: TimerHandle | None = None
        self.stopping = False

    def count_stored(self) -> None:
        """Find out how much each tenant's actors hold here."""
        if self._meters is not None:
            self._counting = Counting(self.engine, self._meters.stored, self.clock, self._counted)
            self._counting.start()

    def _counted(self) -> None:
        self._counting = None

    @property
    def activations(self) -> int:
        """How many actors are in memory with an instance."""
        return self._activations

    def activations_of_functions(self) -> Counter[str]:
        """By the id of the function whose version runs."""
        activations = (actor.activation for actor in self._actors.values())
        return Counter(one.version.function_id for one in activations if one is not None)

    def deliver(self, actor: ActorId, turn: Turn) -> None:
        """Hand `turn` to `actor`; its `reply` gets the answer, possibly before this returns."""
        try:
            found, limits = self._admit(actor, turn.context.chain)
        except ActorError as error:
            turn.reply(error)
            return
        self._idle.pop(actor, None)
        found.deliver(turn, limits)

    def edit(self, actor: ActorId, turn: Edit) -> None:
        """Have `turn` done in its place among the actor's turns, whether a function exports its class or not.

        Raises OSError, ValueError when the actor cannot be read.
        """
        version = self.version_of(actor)
        found = self._resident(actor)
        self._idle.pop(actor, None)
        found.deliver(turn, LIMITS if version is None else version.limits)

    def _admit(self, actor: ActorId, chain: tuple[ActorId, ...]) -> tuple[Actor, Limits]:
        """The actor in memory, and the limits it lives under. Raises the ActorError that refuses the call."""
        if self.stopping:
            raise ActorOverloadedError(STOPPING)
        if actor in chain:
            raise ActorDeadlockError(
                f"this call comes back to an actor that waits for it: {path_text((*chain, actor))}"
            )
        version = self.version_of(actor)
        if version is None:
            if reason := self.refused(actor.tenant, actor.type):
                raise ActorOverloadedError(f"the function with the actor class {actor.type!r} does not serve: {reason}")
            raise ActorTypeNotFoundError(no_owner(actor.type))
        if self._meters is not None:
            self._meters.check_turn(version)
        limits = version.limits
        if len(chain) >= limits.call_depth_max:
            raise ActorDeadlockError(f"calls are {limits.call_depth_max} deep: {path_text((*chain, actor))}")
        found = self._actors.get(actor)
        if found is None or (found.activation is None and not found.busy):
            if self._meters is not None:
                self._meters.make_room(version)
            if self._activations >= self.limits.activations_max and not self._evict_one():
                raise ActorOverloadedError("all actors that this host can hold are busy: try again later")
            try:
                found = self._resident(actor)
            except (OSError, ValueError) as error:
                _log.error("actor_not_read", tenant=actor.tenant, type=actor.type, name=actor.name, error=error)
                raise ActorCrashedError("the host could not read the actor's state: try again later") from None
        return found, limits

    def find(self, actor: ActorId) -> Actor | None:
        """The actor, if it is in memory."""
        return self._actors.get(actor)

    def stop(self) -> None:
        """No turn starts any more: those that wait are answered that the host is stopping."""
        self.stopping = True

    def reset(self, actor: ActorId) -> None:
        """Drop the activation of `actor` if it has one and no turn runs on it."""
        found = self._actors.get(actor)
        if found is not None:
            found.drop()

    def dismiss(self, tenant: str) -> bool:
        """Let go of a tenant's actors; False while turns of some are under way."""
        mine = [actor for actor in self._actors.values() if actor.id.tenant == tenant]
        for actor in mine:
            if actor.evictable:
                self._forget(actor)
        return all(actor.id not in self._actors for actor in mine)

    # Alarms, outside of turns.

    def postpone_alarm(self, actor: ActorId, due_ms: int, next_ms: int, retry_count: int) -> None:
        """Try the alarm that was due at `due_ms` again later, unless it was changed.

        Not durable before the next `flush`. Raises OSError, StorageBroken.
        """
        self._resident(actor).move_alarm(due_ms, [(alarm_key(next_ms, actor), b"%d" % retry_count)], next_ms)

    def bury_alarm(self, actor: ActorId, due_ms: int, record: bytes) -> None:
        """Keep the alarm that was due at `due_ms` as a dead one, unless it was changed.

        Not durable before the next `flush`. Raises OSError, StorageBroken.
        """
        self._resident(actor).move_alarm(due_ms, [(dead_alarm_key(actor), record)], None)

    def revive_alarm(self, actor: ActorId, due_ms: int) -> None:
        """Put a dead alarm back, due at `due_ms`, unless the actor has another one.

        Not durable before the next `flush`. Raises OSError, ValueError, StorageBroken.
        """
        back: list[Write] = [(dead_alarm_key(actor), None), (alarm_key(due_ms, actor), b"0")]
        self._resident(actor).move_alarm(None, back, due_ms)

    def _resident(self, actor: ActorId) -> Actor:
        found = self._actors.get(actor)
        if found is None:
            found = self._actors[actor] = Actor(self, actor)
            self.idle(found)
        return found

    # Told by the actors.

    def waited(self, since: float) -> None:
        self.mailbox_waits += 1
        self.mailbox_wait_s += self.clock.monotonic() - since

    def activated(self, version: Version) -> None:
        self._activations += 1
        if self._meters is not None:
            self._meters.activated(version)

    def deactivated(self, version: Version) -> None:
        self._activations -= 1
        if self._meters is not None:
            self._meters.deactivated(version)

    def room(self, version: Version | None) -> Room | None:
        """What the actors of `version` may still store; None: there is no quota."""
        return None if self._meters is None or version is None else self._meters.of(version).room

    def no_room(self, version: Version) -> None:
        """Something was not stored because of the quota."""
        if self._meters is not None:
            self._meters.over(version, "storage_mb")

    def grew(self, actor: ActorId, growth: int) -> None:
        """What the actor holds is so many bytes more, or less, since its last commit."""
        if self._meters is not None:
            counted = self._counting is None or self._counting.counted(actor)
            self._meters.stored.grew(actor.tenant, actor.type, growth, counted)

    def idle(self, actor: Actor) -> None:
        if self.stopping:
            return
        actor.idle_since = self.clock.monotonic()
        self._idle[actor.id] = actor
        if self._sweeper is None:
            self._sweeper = self.clock.call_later(SWEEP_S, self._sweep)

    # Eviction.

    def _sweep(self) -> None:
        self._sweeper = None
        until = self.clock.monotonic() - self.limits.activation_idle_s
        evicted = 0
        while self._idle and evicted < EVICTIONS_PER_SWEEP:
            oldest = next(iter(self._idle.values()))
            if oldest.activation is not None and oldest.idle_since > until:
                break
            if not oldest.evictable:
                break
            self._forget(oldest)
            evicted += 1
        if self._idle:
            more = evicted == EVICTIONS_PER_SWEEP
            self._sweeper = self.clock.call_later(SWEEP_BUSY_S if more else SWEEP_S, self._sweep)

    def _evict_one(self) -> bool:
        for actor in self._idle.values():
            if actor.activation is not None and actor.evictable:
                self._forget(actor)
                return True
        return False

    def _evict_of(self, tenant: str, function_id: str | None) -> bool:
        """See `quotas.meter.Evict`."""
        for actor in self._idle.values():
            activation = actor.activation
            if activation is None or actor.id.tenant != tenant or not actor.evictable:
                continue
            if function_id is None or activation.version.function_id == function_id:
                self._forget(actor)
                return True
        return False

    def _forget(self, actor: Actor) -> None:
        actor.drop()
        self._idle.pop(actor.id, None)
        del self._actors[actor.id]

    def close(self) -> None:
        """Drop every activation. The scheduler must be closed before, so that no turn runs."""
        self.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for actor in list(self._actors.values()):
            actor.drop()
        self._actors.clear()
        self._idle.clear()
        if self._counting is not None:
            self._counting.close()
        if self._meters is not None:
            self._meters.evictors.remove(self._evict_of)


def _untraced() -> Trace | None:
    """Of a host that exports no traces."""
    return None


def _no_alarms(_due_ms: int) -> None:
    """Until the alarms of this process are running."""
