"""Bugs that a host like this one could have, each put into the real rooms on purpose, for as long as a test wants it.

A simulation that finds nothing proves nothing before it was seen to find these. Each bug is a guarantee of the host
that is broken now and then, or in one unlucky moment, because that is how such bugs come.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from host.actors.actor import Actor
from host.actors.alarms import Alarms
from host.actors.directory import Directory
from host.actors.transaction import Transaction
from host.actors.turn import Turn
from host.model.ids import ActorId
from host.model.limits import LIMITS
from host.sandbox.instance import INVOKE
from host.storage.ports import Write
from tests.sim.power import PowerEngine

Patch = pytest.MonkeyPatch


class ForgetfulEngine(PowerEngine):
    """One write in thirty is taken and never done."""

    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count(1)

    def write(self, batch: Iterable[Write]) -> None:
        if next(self._count) % 30:
            super().write(batch)


class TearingEngine(PowerEngine):
    """What a power cut leaves of the first batch that was not synced is its first half."""

    def restore(self, kept: int = 0) -> None:
        if kept < len(self.unsynced):
            torn = self.unsynced[kept]
            self.unsynced[kept] = torn[: len(torn) // 2]
        super().restore(kept + 1)


class LyingEngine(PowerEngine):
    """A sync returns and nothing is safe: a disk whose cache ignores the flush."""

    def sync(self) -> None:
        self._check()
        if self.sync_error is not None or self.cut_at_sync is not None:
            super().sync()


def answers_before_the_sync(patch: Patch) -> None:
    patch.setattr(Actor, "_answer", lambda _self, turn, answer: turn.reply(answer))


def reads_pass_the_gate(patch: Patch) -> None:
    """Only turns that wrote wait for the sync; those that read what was written do not."""
    commit, answer = Actor._commit, Actor._answer
    wrote: set[Actor] = set()

    def watching(self: Actor, storage: Transaction, success: bool, *rest: Any) -> None:
        before = self._committed
        commit(self, storage, success, *rest)
        if self._committed != before:
            wrote.add(self)

    def hasty(self: Actor, turn: Turn, value: Any) -> None:
        if self in wrote:
            wrote.discard(self)
            answer(self, turn, value)
        else:
            turn.reply(value)

    patch.setattr(Actor, "_commit", watching)
    patch.setattr(Actor, "_answer", hasty)


def runs_a_turn_twice(patch: Patch) -> None:
    """One call in twenty is delivered again, as by a caller that tries again what was not answered in time."""
    deliver, count = Directory.deliver, itertools.count(1)

    def twice(self: Directory, actor: ActorId, turn: Turn) -> None:
        if turn.export is INVOKE and next(count) % 20 == 0:
            again = Turn(turn.export, turn.parameters, turn.what, turn.context, lambda _answer: None)
            deliver(self, actor, again)
        deliver(self, actor, turn)

    patch.setattr(Directory, "deliver", twice)


def lets_two_turns_interleave(patch: Patch) -> None:
    """One call in ten gets an activation of its own."""
    deliver, idle, count = Directory.deliver, Directory.idle, itertools.count(1)
    twins: set[Actor] = set()

    def split(self: Directory, actor: ActorId, turn: Turn) -> None:
        if turn.export is INVOKE and self._actors.get(actor) is not None and next(count) % 10 == 0:
            twin = Actor(self, actor)
            twins.add(twin)
            twin.deliver(turn, LIMITS)
        else:
            deliver(self, actor, turn)

    def twin_goes(self: Directory, actor: Actor) -> None:
        if actor in twins:
            actor.drop()
        else:
            idle(self, actor)

    patch.setattr(Directory, "deliver", split)
    patch.setattr(Directory, "idle", twin_goes)


def keeps_a_stale_cache_after_eviction(patch: Patch) -> None:
    """An actor that comes back reads, until it has written, what it read first in its last life."""
    committed, forget, commit = Transaction._committed, Directory._forget, Actor._commit
    first: dict[bytes, bytes | None] = {}
    stale: set[bytes] = set()

    def cached(self: Transaction, key: bytes) -> bytes | None:
        full = self._prefix + key
        if self._prefix in stale and full in first:
            return first[full]
        value = committed(self, key)
        first.setdefault(full, value)
        return value

    def remember(self: Directory, actor: Actor) -> None:
        stale.add(actor._prefix)
        forget(self, actor)

    def renew(self: Actor, storage: Transaction, success: bool, *rest: Any) -> None:
        before = self._committed
        commit(self, storage, success, *rest)
        if self._committed != before:
            stale.discard(self._prefix)

    patch.setattr(Transaction, "_committed", cached)
    patch.setattr(Directory, "_forget", remember)
    patch.setattr(Actor, "_commit", renew)


def commits_what_a_failed_turn_wrote(patch: Patch) -> None:
    batch = Transaction.batch
    patch.setattr(Transaction, "batch", lambda self, _success, *rest: batch(self, True, *rest))


def keeps_what_was_rolled_back(patch: Patch) -> None:
    patch.setattr(Transaction, "rollback", Transaction.commit)


def sleeps_through_a_restart(patch: Patch) -> None:
    """Alarms fire in the life of the host in which they were set, and in no other."""
    patch.setattr(Alarms, "start", lambda _self: None)


def miscounts_bytes(patch: Patch) -> None:
    """A key that is written over counts twice."""

    def size(self: Transaction, level: Any, key: bytes) -> int:
        value = self._committed(key) if level.writes.get(key) is None else level.writes[key]
        return 0 if value is None else len(value)

    patch.setattr(Transaction, "_size", size)


def _nothing(_patch: Patch) -> None:
    """The engine has the bug."""


@dataclass(frozen=True)
class Bug:
    """`plant` puts it into the rooms until the patch is undone; `engine` is the engine that goes with it."""

    plant: Callable[[Patch], None] = _nothing
    engine: Callable[[], PowerEngine] = PowerEngine


SEEN_BY_CLIENTS: dict[str, Bug] = {
    "the engine forgets a write": Bug(engine=ForgetfulEngine),
    "a sync that does nothing": Bug(engine=LyingEngine),
    "an answer before the sync": Bug(answers_before_the_sync),
    "a read that passes the gate": Bug(reads_pass_the_gate),
    "a turn that runs twice": Bug(runs_a_turn_twice),
    "two turns that interleave": Bug(lets_two_turns_interleave),
    "a stale cache after an eviction": Bug(keeps_a_stale_cache_after_eviction),
    "a failed turn that is committed": Bug(commits_what_a_failed_turn_wrote),
}
"""What the histories of `load` must show."""

SEEN_IN_STATE: dict[str, Bug] = {
    "the engine forgets a write": Bug(engine=ForgetfulEngine),
    "a batch torn by a power cut": Bug(engine=TearingEngine),
    "an answer before the sync": Bug(answers_before_the_sync),
    "a turn that runs twice": Bug(runs_a_turn_twice),
    "a stale cache after an eviction": Bug(keeps_a_stale_cache_after_eviction),
    "a failed turn that is committed": Bug(commits_what_a_failed_turn_wrote),
    "a rollback that keeps": Bug(keeps_what_was_rolled_back),
    "alarms that a restart forgets": Bug(sleeps_through_a_restart),
    "bytes that are miscounted": Bug(miscounts_bytes),
}
"""What the model of `tenant` must show."""
