"""One actor: its mailbox, its activation, and the gate in front of its replies.

Activation, a table of its life:

    none --first turn--> constructing --ready--> idle <--turn--> busy
    constructing, busy --crash, timeout, failed constructor, failed commit--> none (the mailbox goes on, afresh)
    idle --eviction, new version--> none

Invariants:
- One turn at a time, from its start until the guest has ended it, across every await in it.
- A turn's writes reach the engine in one batch when it ends well, before the next turn starts; so the next one sees
  them.
- The gate: no answer leaves before everything this actor has committed so far is durable. `_committed` is the sequence
  number of its last commit, kept over activations; an actor is forgotten only when that is durable.
- A turn that ends badly commits nothing (but what a finished constructor wrote).
- The record in memory, the record on disk and the entry in the alarm index change in one batch, from the record as it
  is when the turn ends: between a turn's start and its end a failed alarm may have been moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from host.actors.ports import STOPPING, Answer, no_owner
from host.actors.transaction import Transaction
from host.actors.turn import Edit, Turn
from host.model.errors import (
    ActorCrashedError,
    ActorError,
    ActorOutputGateError,
    ActorOverloadedError,
    ActorTypeNotFoundError,
    QuotaExceededError,
    StorageBroken,
    TenureError,
    Unavailable,
    UsageError,
)
from host.model.ids import ActorId
from host.model.limits import LIMITS, Limits
from host.model.version import Version
from host.quotas.stored import Room
from host.sandbox.call import Call
from host.sandbox.engine import SandboxError
from host.sandbox.instance import ALARM, FETCH, Instance
from host.sandbox.outcome import Outcome
from host.sandbox.ports import Refusal, World
from host.storage.keys import actor_key, actor_use_key, alarm_key, state_prefix
from host.storage.ports import Write
from host.storage.records import ActorRecord, decode_actor_record
from host.telemetry import log

if TYPE_CHECKING:
    from host.actors.directory import Directory

LEFT_OPEN = "a transaction had not ended when the turn did, and nothing of it is kept: await what transaction() returns"
GATE_BROKEN = "the write of this turn could not be made durable: whether it is kept is unknown until the host restarts"

USE_NOTED_EVERY_MS = 600_000
"""How exactly it is known when an actor had its last turn: a write for each read would be too much."""

_log = log.get("actors")


class Activation:
    """An actor's life in memory: one instance of one version."""

    __slots__ = ("instance", "ready", "room", "version", "world")

    def __init__(self, instance: Instance, version: Version, world: World, room: Room | None) -> None:
        self.instance = instance
        self.version = version
        self.world = world
        self.room = room
        self.ready = False


class Actor:
    """See the module. Everything runs on the loop."""

    __slots__ = (
        "_committed",
        "_directory",
        "_mailbox",
        "_prefix",
        "_record",
        "_running",
        "_use_due_ms",
        "_waiting_bytes",
        "activation",
        "call",
        "id",
        "idle_since",
    )

    def __init__(self, directory: Directory, actor: ActorId) -> None:
        self.id = actor
        self.activation: Activation | None = None
        self.call: Call | None = None  # of the turn that runs
        self.idle_since = 0.0
        self._directory = directory
        self._mailbox: deque[Turn] = deque()
        self._running: Turn | None = None
        self._waiting_bytes = 0
        self._prefix = state_prefix(actor)
        self._committed = 0
        self._use_due_ms = 0.0  # 0: when it is due to be noted again is not known
        stored = directory.engine.get(actor_key(actor))
        self._record = ActorRecord() if stored is None else decode_actor_record(stored)

    @property
    def busy(self) -> bool:
        return self._running is not None

    @property
    def evictable(self) -> bool:
        """Nothing runs or waits here, and nothing it said yes to is still on its way to the disk."""
        return self._running is None and not self._mailbox and self._committed <= self._directory.committer.synced

    @property
    def waiting(self) -> int:
        return len(self._mailbox)

    def deliver(self, turn: Turn, limits: Limits) -> None:
        """Take `turn` into the mailbox and run it when its time comes. A full mailbox answers at once."""
        waiting, size = len(self._mailbox), self._waiting_bytes + turn.size
        if waiting >= limits.mailbox_turns_max or (waiting and size > limits.mailbox_bytes_max):
            self._directory.mailboxes_full += 1
            text = f"{self.id.type} {self.id.name!r} has {waiting} calls waiting already: try again later"
            turn.reply(ActorOverloadedError(text))
            return
        self._mailbox.append(turn)
        self._waiting_bytes = size
        if self._running is None:
            self._next()
        else:
            turn.waits_since = self._directory.clock.monotonic()

    def withdraw(self, turn: Turn) -> bool:
        """Take `turn` back out of the mailbox. False when it is not there: it has begun."""
        try:
            self._mailbox.remove(turn)
        except ValueError:
            return False
        self._waiting_bytes -= turn.size
        return True

    def holds(self, turn: Turn) -> bool:
        """`turn` runs or waits here: it has not ended."""
        return turn is self._running or turn in self._mailbox

    def runs(self, turn: Turn) -> bool:
        return turn is self._running

    def _next(self) -> None:
        """Start the next turn."""
        while self._running is None:
            if not self._mailbox:
                self._directory.idle(self)
                return
            turn = self._mailbox.popleft()
            self._waiting_bytes -= turn.size
            if turn.waits_since is not None:
                self._directory.waited(turn.waits_since)
            if turn.due_ms is not None and turn.due_ms != self._record.alarm_ms:
                self._skip_alarm(turn, turn.due_ms)
                continue
            if isinstance(turn, Edit):
                self._edit(turn)
                continue
            try:
                self._start(turn)
            except ActorError as error:
                self._answer(turn, error)

    def _skip_alarm(self, turn: Turn, due_ms: int) -> None:
        """The alarm was replaced or deleted while its turn waited."""
        stray = alarm_key(due_ms, self.id)
        try:
            if self._directory.engine.get(stray) is not None:  # no record names it: left alone it would fire for ever
                _log.error("stray_alarm", tenant=self.id.tenant, type=self.id.type, name=self.id.name, due_ms=due_ms)
                self._committed = self._directory.committer.write([(stray, None)])
        except (OSError, StorageBroken) as error:
            self._answer(turn, ActorOutputGateError(f"the alarm could not be removed: {type(error).__name__}"))
        else:
            self._answer(turn, b"")

    def _start(self, turn: Turn) -> None:
        directory = self._directory
        if directory.stopping:
            raise ActorOverloadedError(STOPPING)
        version = directory.version_of(self.id)
        if version is None:
            self.drop()
            raise ActorTypeNotFoundError(no_owner(self.id.type))
        activation = self.activation
        if activation is not None and activation.version is not version:
            self.drop()
            activation = None
        if activation is None:
            activation = self._activate(version)
        limits = version.limits
        takes_alarm = turn.export is ALARM
        own = (self.id, self._prefix, self._record)
        storage = Transaction(directory.engine, *own, limits, takes_alarm, activation.room)
        storage.is_ready = activation.ready
        self._running = turn
        call = Call(
            directory.scheduler,
            activation.instance,
            self.id.tenant,
            activation.world,
            limits,
            turn.wall_s(limits),
            self._ended,
            storage,
            turn.context.within(self.id),
        )
        call.on_wait = directory.waiting
        self.call = call
        call.start(turn.export, *turn.parameters)

    def _edit(self, turn: Edit) -> None:
        """The activation goes first: what its guest remembers of the storage is no longer so."""
        directory = self._directory
        self.drop()
        version = directory.version_of(self.id)
        limits = LIMITS if version is None else version.limits
        room = directory.room(version)
        storage = Transaction(directory.engine, self.id, self._prefix, self._record, limits, room=room)
        answer: Answer = b""
        try:
            if directory.stopping:
                raise Unavailable(f"This host cannot do it now: {STOPPING}.")
            besides = turn.work(storage, self._record)
            self._commit(storage, True, room, besides)
            if turn.erases:
                self._record, self._use_due_ms = ActorRecord(), 0.0
        except Refusal as refusal:
            turn.refusal, answer = UsageError(f"{refusal.name}: {refusal.message}."), ActorError("refused")
        except QuotaExceededError as error:
            turn.refusal, answer = UsageError(f"{error.name}: {error.detail}."), ActorError("refused")
        except TenureError as error:
            turn.refusal, answer = error, ActorError("refused")
        except (OSError, ValueError) as error:
            _log.error("edit_failed", tenant=self.id.tenant, type=self.id.type, error=error)
            turn.refusal, answer = Unavailable("The host could not store it. Try again."), ActorError("refused")
        self._answer(turn, answer)
        directory.committer.flush()  # an edit may run outside of a round

    def _activate(self, version: Version) -> Activation:
        try:
            instance = self._directory.library.instance(version.artifact, version.limits)
        except (SandboxError, OSError) as error:
            _log.error("activation_failed", type=self.id.type, version=version.number, error=error)
            raise ActorCrashedError(f"{self.id.type} cannot be started on this host; ship its function again") from None
        world, room = self._directory.world(version, self.id), self._directory.room(version)
        self.activation = Activation(instance, version, world, room)
        self._directory.activated(version)
        return self.activation

    def _ended(self, call: Call, outcome: Outcome) -> None:
        turn, activation = self._running, self.activation
        assert turn is not None
        assert activation is not None
        self._running = self.call = None
        storage: Transaction = call.storage  # type: ignore[assignment]
        success, noted = outcome.kind in ("returned", "responded"), outcome
        answer: Answer
        if success:
            answer = outcome.value if outcome.response is None else outcome.response
        else:
            answer = turn.error(self.id, outcome, activation.version.limits)
        if success and storage.left_open:
            activation.world.log(call, "warn", LEFT_OPEN)
        became_ready = storage.is_ready
        if not success and (outcome.kind != "failed" or not became_ready):
            self.drop()
        else:
            activation.ready = became_ready
        try:
            self._commit(storage, success, activation.room)
        except (OSError, StorageBroken, QuotaExceededError) as error:
            self.drop()
            answer = self._not_committed(error)
            noted = Outcome("failed", name=answer.name, message=answer.detail)
        if activation.room is not None and activation.room.refused:
            activation.room.refused = 0
            self._directory.no_room(activation.version)
        self._note(call, turn, activation, noted)
        if outcome.kind == "cancelled":
            self._directory.stop()
        self._answer(turn, answer)
        if not success and outcome.kind != "failed":
            self._directory.committer.flush()  # a guest is stopped between rounds, whose end would have done it
        self._next()

    def _not_committed(self, error: Exception) -> ActorError:
        if isinstance(error, QuotaExceededError):
            return error
        _log.error("commit_failed", tenant=self.id.tenant, type=self.id.type, error=error)
        return ActorOutputGateError("the write of this turn failed: nothing of it was kept")

    def _commit(self, storage: Transaction, success: bool, room: Room | None, besides: Sequence[Write] = ()) -> None:
        now_ms = self._directory.clock.now()
        writes, record = storage.batch(success, now_ms, self._record.alarm_ms)
        growth = record.bytes_used - self._record.bytes_used
        if growth > 0 and room is not None and (why_not := room.why_not(growth)):
            raise QuotaExceededError(why_not)
        if now_ms >= self._use_due_ms:
            self._note_use(now_ms, writes, record)
        writes += besides
        if writes:
            self._committed = self._directory.committer.write(writes)
            before, self._record = self._record, record
            if growth:
                self._directory.grew(self.id, growth)
            if record.alarm_ms is not None and record.alarm_ms != before.alarm_ms:
                self._directory.alarm_changed(record.alarm_ms)

    def _note_use(self, now_ms: float, writes: list[Write], record: ActorRecord) -> None:
        """That the actor had a turn, with what the turn writes; alone it waits for nobody and may be lost."""
        key = actor_use_key(self.id)
        stored = self._directory.engine.get(key) if self._use_due_ms == 0.0 else None
        if stored is not None and int(stored) + USE_NOTED_EVERY_MS > now_ms:
            self._use_due_ms = int(stored) + USE_NOTED_EVERY_MS
        elif record.created_ms:  # else there is no actor yet: nothing of it is stored
            self._use_due_ms = now_ms + USE_NOTED_EVERY_MS
            note = (key, b"%d" % now_ms)
            if writes:
                writes.append(note)
            else:
                with suppress(OSError, StorageBroken):
                    self._directory.committer.write([note])

    def _note(self, call: Call, turn: Turn, activation: Activation, outcome: Outcome) -> None:
        """Tell the world how the turn went and, of one that is traced, how long its commit took."""
        world, committer = activation.world, self._directory.committer
        url = turn.parameters[1] if turn.export is FETCH else b""
        world.ended(call, turn.what, url, turn.size, outcome)
        if call.context.trace is not None and self._committed > committer.synced:
            committer.when_synced(self._committed, partial(world.committed, call, call.clock.monotonic()))

    def _answer(self, turn: Turn, answer: Answer) -> None:
        """Through the gate: now if all that was committed is durable, else when it is."""
        committer = self._directory.committer
        if self._committed <= committer.synced and not committer.broken:
            turn.reply(answer)
        else:
            committer.when_synced(self._committed, partial(self._gate, turn, answer))

    def _gate(self, turn: Turn, answer: Answer, error: StorageBroken | None) -> None:
        if error is not None:
            self.drop()
            answer = ActorOutputGateError(GATE_BROKEN)
        turn.reply(answer)

    def move_alarm(self, due_ms: int | None, writes: list[Write], alarm_ms: int | None) -> None:
        """Replace the alarm that was due at `due_ms` (None: there was none), outside of any turn. Does nothing if it
        was changed since.

        Not durable before the next `flush`. Raises OSError, StorageBroken.
        """
        if self._record.alarm_ms != due_ms:
            return
        record = self._record._replace(alarm_ms=alarm_ms)
        batch = [(actor_key(self.id), record.encode()), *writes]
        if due_ms is not None:
            batch.append((alarm_key(due_ms, self.id), None))
        self._committed = self._directory.committer.write(batch)
        self._record = record
        if alarm_ms is not None:
            self._directory.alarm_changed(alarm_ms)

    def drop(self) -> None:
        """End the activation, unless a turn runs on it (then it ends with that turn). Storage keeps the state."""
        activation = self.activation
        if activation is None or self._running is not None:
            return
        self.activation = None
        activation.instance.close()
        self._directory.deactivated(activation.version)
