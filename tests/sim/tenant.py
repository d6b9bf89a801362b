"""One tenant in the real rooms beside its model: every step is taken by both, and then they are compared.

The clock stands still, syncs run on the loop and no thread takes part, so the same steps are the same run. All times
are multiples of 250 ms, which a float of seconds holds exactly.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from host.actors import turn
from host.actors.dead import TenantAlarms
from host.actors.ports import Answer
from host.model.clock import ManualClock
from host.model.errors import (
    ACTOR_ERRORS,
    ActorCrashedError,
    ActorError,
    ActorMethodError,
    ActorMethodTimeoutError,
    ActorOutputGateError,
)
from host.model.ids import ActorId
from host.model.limits import HOST_LIMITS, LIMITS
from host.model.message import CallContext, HttpResponse
from host.storage.keys import ALARMS, actor_key, actor_use_key, dead_alarm_key, decode_alarm, state_prefix
from host.storage.records import ActorRecord, decode_actor_record
from tests.kit.rooms import TENANT, Rooms, open_rooms, version_of
from tests.sim.model import Actor, Step, Stopped, Thrown, seen
from tests.sim.power import PowerEngine

NAMES = ("a", "a\0", "é", "\U0001f980")
QUOTA = 6_000
METHOD_WALL_S = 1.0

Call = tuple[str, list[Step]]
LOST = object()
"""The answer of a call whose host lost its power first."""


class Tenant:
    """Each method takes one step in the rooms and in the model and compares what callers saw; `check` compares the
    rest.
    """

    def __init__(self, engine: PowerEngine | None = None) -> None:
        self.engine = engine or PowerEngine()
        self.clock = ManualClock()
        self.models = dict.fromkeys(NAMES, Actor())
        self.rooms: Rooms
        self._stack = AsyncExitStack()

    @property
    def now_ms(self) -> int:
        return int(self.clock.now())

    async def open(self) -> None:
        limits = replace(LIMITS, method_wall_s=METHOD_WALL_S, init_wall_s=1000.0, actor_bytes_max=QUOTA)
        host = replace(HOST_LIMITS, activation_idle_s=5.0)
        rooms = open_rooms(self.engine, self.clock, host, version=version_of(limits=limits))
        self.rooms = await self._stack.enter_async_context(rooms)
        await self.rooms.quiet()

    async def close(self) -> None:
        rooms = self.rooms
        await self._stack.aclose()
        assert rooms.sandbox.stores == 0, "a store outlived its host"

    # Steps.

    async def calls(self, calls: list[Call]) -> None:
        """All at once; those to one actor run in their order."""
        answers = await self._answers(calls)
        for (name, steps), answer in zip(calls, answers, strict=True):
            expected, self.models[name] = self.models[name].turn(steps, self.now_ms, QUOTA)
            _same_answer(expected, answer)

    async def calls_that_cannot_be_written(self, calls: list[Call]) -> None:
        """The disk is full: who wrote is told so, and nothing of it is kept."""
        self.engine.write_error = OSError("no space left")
        answers = await self._answers(calls)
        self.engine.write_error = None
        for (name, steps), answer in zip(calls, answers, strict=True):
            expected, after = self.models[name].turn(steps, self.now_ms, QUOTA)
            if isinstance(answer, ActorOutputGateError):
                assert not isinstance(expected, Thrown | Stopped), f"a turn without writes met the gate: {steps}"
            else:
                assert after.pairs == self.models[name].pairs, f"writes were acknowledged: {steps}"
                _same_answer(expected, answer)

    async def call_that_times_out(self, name: str, steps: list[Step]) -> None:
        call = self.rooms.run(name, *steps, ["pause", 60_000])
        expected, _ = self.models[name].turn(steps, self.now_ms, QUOTA)
        await self.advance(METHOD_WALL_S + 0.5)
        assert call.done() or not call.cancel(), "a turn outlived its limit"
        answer = call.exception()
        if isinstance(expected, list):
            assert isinstance(answer, ActorMethodTimeoutError), f"{answer!r} in place of a timeout"
        else:
            _same_answer(expected, answer)

    async def advance(self, seconds: float) -> None:
        """Time passes in one step, so whatever became due on the way runs at the end of it."""
        await self._pass(seconds)
        self._fire()

    async def retry_dead(self, name: str) -> None:
        if self.models[name].dead:
            await TenantAlarms(self.rooms.directory).retry(ActorId(TENANT, "Probe", name))
            self.models[name] = replace(self.models[name], alarm_ms=self.now_ms, retries=0, dead=False)

    def drop(self, name: str) -> None:
        """The activation goes; the actor stays in memory."""
        self.rooms.directory.reset(ActorId(TENANT, "Probe", name))

    def evict(self) -> None:
        """The longest idle actor goes."""
        self.rooms.directory._evict_one()

    async def restart(self) -> None:
        await self._stack.aclose()
        await self.open()
        self._fire()

    async def power_cut(self, calls: list[Call], when: str, kept: int, seconds: float) -> None:
        """Time passes or calls run, the power fails at their first sync, and the host starts again.

        What was acknowledged must be there. Of the rest each turn is there or not, none without those before it.
        """
        possible = {name: [model] for name, model in self.models.items()}
        acknowledged = dict.fromkeys(NAMES, 0)
        self.engine.cut_at_sync = "before" if when == "before" else "after"
        answers = await self._answers(calls)
        for (name, steps), answer in zip(calls, answers, strict=True):
            expected, after = possible[name][-1].turn(steps, self.now_ms, QUOTA)
            possible[name].append(after)
            if answer is not LOST:
                _same_answer(expected, answer)
                acknowledged[name] = len(possible[name]) - 1
        await self._pass(seconds)
        for states in possible.values():
            due = states[-1].alarm_ms
            if due is not None and due <= self.now_ms:
                states.append(states[-1].fire(self.now_ms, QUOTA))
        self.engine.cut()
        await self._stack.aclose()
        self.engine.restore(min(kept, len(self.engine.unsynced)))
        for name, states in possible.items():
            self.models[name] = self._survivor(name, states[acknowledged[name] :])
        await self.open()
        self._fire()

    # Comparing.

    def check(self) -> None:
        """The whole of what is stored is what the model says, and nothing else is there."""
        engine = self.engine
        for name, model in self.models.items():
            stored = self._stored(name)
            assert stored == model, f"{name!r} is {stored}, not {model}"
        left = {key for key, _ in engine.scan(b"\0", b"\xff")}
        for name in NAMES:
            actor = ActorId(TENANT, "Probe", name)
            prefix = state_prefix(actor)
            left -= {key for key in left if key.startswith(prefix)} | {
                actor_key(actor),
                actor_use_key(actor),
                dead_alarm_key(actor),
            }
        alarms = {(ActorId(TENANT, "Probe", name), model.alarm_ms) for name, model in self.models.items()}
        for key, retries in engine.scan(*ALARMS):
            due_ms, actor = decode_alarm(key)
            assert (actor, due_ms) in alarms, f"an alarm of nobody: {actor} at {due_ms}"
            assert int(retries) == self.models[actor.name].retries
            left.discard(key)
        assert not left, f"stray keys: {left}"
        rooms = self.rooms
        assert rooms.scheduler.calls == 0
        assert not engine.unsynced
        assert rooms.sandbox.stores == rooms.directory.activations
        assert rooms.sandbox.fibers == 0

    def _stored(self, name: str) -> Actor:
        """The actor as the engine has it, once its parts agree with each other."""
        actor = ActorId(TENANT, "Probe", name)
        prefix = state_prefix(actor)
        pairs = {key[len(prefix) :]: value for key, value in self.engine.scan(prefix, prefix[:-1] + b"\x02")}
        data = self.engine.get(actor_key(actor))
        record = ActorRecord() if data is None else decode_actor_record(data)
        used = sum(len(key) + len(value) for key, value in pairs.items())
        assert record.bytes_used == used, f"{name!r} is said to use {record.bytes_used} bytes of {used}"
        tries = [int(n) for key, n in self.engine.scan(*ALARMS) if decode_alarm(key) == (record.alarm_ms, actor)]
        assert len(tries) == (record.alarm_ms is not None), f"{name!r}: the alarm index is not the record"
        dead = self.engine.get(dead_alarm_key(actor)) is not None
        decoded = {key.decode(): json.loads(value) for key, value in pairs.items()}
        return Actor(decoded, record.alarm_ms, sum(tries), dead)

    def _survivor(self, name: str, states: list[Actor]) -> Actor:
        stored = self._stored(name)
        assert stored in states, f"{name!r} is {stored} after the power cut; it can only be one of {states}"
        return stored

    # Within.

    async def _answers(self, calls: list[Call]) -> list[Any]:
        """What the callers got, in the order of the calls; LOST if nothing before the power failed."""
        answers: dict[int, Any] = {}
        for number, (name, steps) in enumerate(calls):
            work = turn.invoke(
                b"run", json.dumps([steps]).encode(), CallContext(), partial(self._take, answers, number)
            )
            self.rooms.directory.deliver(ActorId(TENANT, "Probe", name), work)
        for _ in range(100):
            await self.rooms.quiet()
            if len(answers) == len(calls):
                break
        assert len(answers) == len(calls), "a call was not answered"
        return [answers[number] for number in range(len(calls))]

    def _take(self, answers: dict[int, Any], number: int, answer: Answer) -> None:
        assert number not in answers, "a call was answered twice"
        if not self.engine.on:
            answers[number] = LOST
        else:
            assert not isinstance(answer, HttpResponse)
            answers[number] = answer if isinstance(answer, ActorError) else json.loads(answer)

    async def _pass(self, seconds: float) -> None:
        await self.rooms.quiet()
        self.clock.advance(seconds)
        await self.rooms.quiet()

    def _fire(self) -> None:
        for name, model in self.models.items():
            if model.alarm_ms is not None and model.alarm_ms <= self.now_ms:
                self.models[name] = model.fire(self.now_ms, QUOTA)


def _same_answer(expected: list[Any] | Thrown | Stopped, answer: Any) -> None:
    if isinstance(expected, Stopped):
        assert isinstance(answer, ActorCrashedError), f"{answer!r} in place of a crash"
    elif isinstance(expected, Thrown):
        assert isinstance(answer, ActorError), f"{answer!r} in place of {expected!r}"
        kind = ACTOR_ERRORS.get(expected.name, ActorMethodError)
        assert type(answer) is kind, f"{answer!r} in place of {expected!r}"
        assert kind is not ActorMethodError or answer.cause == expected.name
    else:
        assert not isinstance(answer, BaseException), f"{answer!r} in place of {expected}"
        assert seen(answer) == expected
