"""Alarms: each actor has one at most, kept in the commit of the turn that set it, fired when it is due.

The index in the engine (`keys.alarm_key`, ordered by time) is the truth: one timer wakes for its earliest entry, so
alarms survive a restart and overdue ones fire at the start, `BATCH` at a time. An alarm's turn removes its own entry
in its own commit, unless the handler set a new one; so a turn that succeeded is not repeated, and one whose commit
was lost is.

A turn that fails is tried again after 1 s, 2 s, 4 s ... up to `RETRIES_MAX` times; then the alarm is kept as a dead
alarm.
"""

from __future__ import annotations

import json
from functools import partial

from host.actors import turn
from host.actors.directory import Directory
from host.actors.ports import Answer
from host.model.clock import TimerHandle
from host.model.errors import ActorError, ActorOutputGateError, ActorOverloadedError, StorageBroken
from host.model.ids import ActorId
from host.model.message import CallContext
from host.storage.keys import ALARMS, alarms_due, decode_alarm
from host.telemetry import log

BATCH = 64
"""Alarms under way at once: a flood of overdue ones leaves room for requests."""

STARTS_PER_LOOK = 8
"""Each may make an activation; between looks the loop serves requests."""

RETRIES_MAX = 6
RETRY_FIRST_MS = 1_000
REFUSED_RETRY_MS = 15_000
"""An alarm whose actor's function is refused waits for it to serve again, and finds out this often."""
WAIT_S_MAX = 1.0
"""Timers follow the monotonic clock, alarms the wall clock: looking again this often follows its steps."""

_log = log.get("actors.alarms")


class Alarms:
    """One per process. Everything runs on the loop."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._clock = directory.clock
        self._timer: TimerHandle | None = None
        self._wakes_at = float("inf")
        self._floor_ms = 0
        self._firing: set[ActorId] = set()
        self._look_is_due = False
        self._closed = False
        directory.alarm_changed = self.changed

    @property
    def waiting(self) -> int:
        """Alarms whose turn is under way."""
        return len(self._firing)

    def start(self) -> None:
        self._look()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def changed(self, due_ms: int) -> None:
        """An alarm was set for `due_ms`."""
        self._floor_ms = min(self._floor_ms, due_ms)
        if due_ms < self._wakes_at:
            self._wake_at(due_ms)

    def _wake_at(self, due_ms: float) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = due_ms
        delay_s = min(max((due_ms - self._clock.now()) / 1000, 0.0), WAIT_S_MAX)
        self._timer = self._clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        """Fire what is due, and wake again for the next."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at, self._look_is_due = None, float("inf"), False
        if self._closed or self._directory.stopping or self._directory.committer.broken:
            return
        try:
            self._fire_due()
        except (OSError, ValueError) as problem:
            _log.error("alarms_not_read", error=problem)
            self._wake_at(self._clock.now() + RETRY_FIRST_MS)
        self._directory.committer.flush()  # what was postponed or buried outside of a round

    def _look_soon(self) -> None:
        """Look again when the loop comes round: an answer may come from within `_look`, thousands of them in a row."""
        if not self._look_is_due:
            self._look_is_due = True
            self._directory.scheduler.loop.call_soon(self._look)

    def _fire_due(self) -> None:
        engine, now = self._directory.engine, int(self._clock.now())
        free = BATCH - len(self._firing)
        if free <= 0:
            return  # the next alarm that ends looks again
        due = engine.scan(self._first_key(), alarms_due(now)[1], limit=BATCH)
        self._floor_ms = decode_alarm(due[0][0])[0] if due else now + 1
        started = 0
        for key, value in due:
            due_ms, actor = decode_alarm(key)
            if actor not in self._firing:
                self._fire(actor, due_ms, int(value))
                started += 1
                if started == free:
                    return  # likewise
                if started == STARTS_PER_LOOK:
                    self._look_soon()
                    return
        for key, _ in engine.scan(self._first_key(), ALARMS[1], limit=BATCH + 1):
            due_ms, actor = decode_alarm(key)
            if actor not in self._firing:
                self._wake_at(due_ms)
                return

    def _first_key(self) -> bytes:
        """No entry of the index lies below this key. What is removed stays in an engine's way for a while, so that a
        scan of thousands of fired alarms' places takes milliseconds.
        """
        return alarms_due(self._floor_ms - 1)[1] if self._floor_ms > 0 else ALARMS[0]

    def _fire(self, actor: ActorId, due_ms: int, retry_count: int) -> None:
        self._firing.add(actor)

        def reply(answer: Answer) -> None:
            if isinstance(answer, ActorError) and not self._failed(actor, due_ms, retry_count, answer):
                self._clock.call_later(RETRY_FIRST_MS / 1000, partial(self._fired, actor))
            else:
                self._fired(actor)

        context = CallContext(f"alarm-{due_ms}", (), self._directory.new_trace())
        self._directory.deliver(actor, turn.alarm(due_ms, retry_count, context, reply))

    def _fired(self, actor: ActorId) -> None:
        self._firing.discard(actor)
        self._look_soon()

    def _failed(self, actor: ActorId, due_ms: int, retry_count: int, error: ActorError) -> bool:
        """Move the alarm to its next try, or among the dead. False when that failed: it is still due."""
        if self._directory.stopping:
            return True  # it fires at the next start
        now = int(self._clock.now())
        dead = retry_count >= RETRIES_MAX
        if self._directory.refused(actor.tenant, actor.type):
            next_ms, count, dead = now + REFUSED_RETRY_MS, retry_count, False  # nobody's doing, and it may last
        elif isinstance(error, ActorOverloadedError | ActorOutputGateError):
            wait_ms = max(int(error.retry_after_s * 1000), RETRY_FIRST_MS)
            next_ms, count, dead = now + wait_ms, retry_count, False  # not the handler's doing
        else:
            next_ms, count = now + (RETRY_FIRST_MS << retry_count), retry_count + 1
        try:
            if dead:
                record = {"due_ms": due_ms, "failed_ms": now, "error": error.name, "message": error.detail[:1000]}
                self._directory.bury_alarm(actor, due_ms, json.dumps(record).encode())
                _log.warn("alarm_dead", tenant=actor.tenant, type=actor.type, name=actor.name, error=error.name)
            else:
                self._directory.postpone_alarm(actor, due_ms, next_ms, count)
        except (OSError, ValueError, StorageBroken) as problem:
            _log.error("alarm_not_postponed", tenant=actor.tenant, type=actor.type, name=actor.name, error=problem)
            return False
        return True
