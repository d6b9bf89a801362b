"""What an actor is, in plain dictionaries: the other opinion that the real one is held against.

`Actor.turn` interprets a script (tests/guests/actors/src/script.ts) as `behaviour.md` words it, on a copy, and gives
what the caller sees and the actor as it is after the turn. It knows nothing of levels, batches, records or caches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from host.actors.alarms import RETRIES_MAX, RETRY_FIRST_MS

Step = list[Any]
Pairs = dict[str, Any]


class Thrown(Exception):
    """An error of the guest, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Stopped(Exception):
    """The guest was killed."""


def size(key: str, value: Any) -> int:
    """Bytes of a pair as the quota counts it: the key and the value's wire form."""
    return len(key.encode()) + len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


@dataclass(frozen=True)
class Actor:
    """`alarm_ms`: when the alarm is due; `retries`: how often its handler has failed; `dead`: it was given up."""

    pairs: Pairs = field(default_factory=dict)
    alarm_ms: int | None = None
    retries: int = 0
    dead: bool = False

    @property
    def bytes_used(self) -> int:
        return sum(size(key, value) for key, value in self.pairs.items())

    def turn(self, steps: list[Step], now_ms: int, quota: int) -> tuple[list[Any] | Thrown | Stopped, Actor]:
        """What the caller gets, and the actor afterwards."""
        turn = _Turn(dict(self.pairs), self.alarm_ms, now_ms, quota)
        try:
            results = turn.run(steps, turn.pairs)
        except (Thrown, Stopped) as error:
            return error, self
        return results, turn.applied(self)

    def fire(self, now_ms: int, quota: int) -> Actor:
        """The actor after its alarm's turn, whether the handler managed it or not."""
        turn = _Turn(dict(self.pairs), None, now_ms, quota)
        try:
            fired = turn.pairs.get("fired", [])
            turn.put(turn.pairs, "fired", [*fired, [now_ms, self.retries, self.retries > 0]])
            turn.run(turn.pairs.get("on-alarm", []), turn.pairs)
        except (Thrown, Stopped):
            if self.retries >= RETRIES_MAX:
                return replace(self, alarm_ms=None, retries=0, dead=True)
            due_ms = now_ms + (RETRY_FIRST_MS << self.retries)
            return replace(self, alarm_ms=due_ms, retries=self.retries + 1)
        return Actor(turn.pairs, turn.alarm_ms)


class _Turn:
    def __init__(self, pairs: Pairs, alarm_ms: int | None, now_ms: int, quota: int) -> None:
        self.pairs = pairs
        self.alarm_ms = alarm_ms
        self.alarm_set = False
        self.now_ms = now_ms
        self.quota = quota

    def applied(self, before: Actor) -> Actor:
        if self.alarm_set:
            return Actor(self.pairs, self.alarm_ms)
        return replace(before, pairs=self.pairs)

    def run(self, steps: list[Step], scope: Pairs) -> list[Any]:
        return [self.take(step, scope) for step in steps]

    def take(self, step: Step, scope: Pairs) -> Any:
        word, *rest = step
        method = getattr(self, "_" + word.replace("-", "_"))
        return method(scope, *rest)

    def put(self, scope: Pairs, key: str, value: Any) -> None:
        growth = size(key, value) - (size(key, scope[key]) if key in scope else 0)
        if growth > 0 and sum(size(*pair) for pair in scope.items()) + growth > self.quota:
            raise Thrown("QuotaExceededError")
        scope[key] = value

    def _put(self, scope: Pairs, first: str | Pairs, *value: Any) -> None:
        _check_open(scope)
        for key, one in first.items() if isinstance(first, dict) else [(first, value[0])]:
            self.put(scope, key, one)

    def _fill(self, scope: Pairs, key: str, count: int) -> None:
        self._put(scope, key, "x" * count)

    def _get(self, scope: Pairs, key: str | list[str]) -> Any:
        _check_open(scope)
        if isinstance(key, str):
            return scope.get(key)
        return {"$map": [[one, scope[one]] for one in dict.fromkeys(key) if one in scope]}

    def _delete(self, scope: Pairs, key: str | list[str]) -> bool | int:
        _check_open(scope)
        if isinstance(key, str):
            return scope.pop(key, _Absent) is not _Absent
        return sum(scope.pop(one, _Absent) is not _Absent for one in key)

    def _list(self, scope: Pairs, options: dict[str, Any]) -> list[Any]:
        _check_open(scope)
        low = options.get("start", "").encode()
        end = options.get("end")
        after = options.get("startAfter")
        found = [
            [key, value]
            for key, value in sorted(scope.items(), key=lambda pair: pair[0].encode())
            if key.startswith(options.get("prefix", ""))
            and key.encode() >= low
            and (after is None or key.encode() > after.encode())
            and (end is None or key.encode() < end.encode())
        ]
        if options.get("reverse"):
            found.reverse()
        return found[: options.get("limit", 128)]

    def _deleteAll(self, scope: Pairs) -> None:
        scope.clear()

    def _transaction(self, scope: Pairs, steps: list[Step]) -> list[Any]:
        inner = _Transaction(scope)
        results = self.run(steps, inner)
        if inner.open:
            scope.clear()
            scope.update(inner)
        return results

    def _rollback(self, scope: Pairs) -> None:
        _check_open(scope)
        assert isinstance(scope, _Transaction)
        scope.open = False

    def _setAlarmIn(self, scope: Pairs, delay_ms: int) -> None:
        self.alarm_ms, self.alarm_set = self.now_ms + delay_ms, True

    def _deleteAlarm(self, scope: Pairs) -> None:
        self.alarm_ms, self.alarm_set = None, True

    def _getAlarm(self, scope: Pairs) -> int | None:
        return self.alarm_ms

    def _try(self, scope: Pairs, step: Step) -> Any:
        try:
            return {"ok": self.take(step, scope)}
        except Thrown as error:
            return {"threw": error.name}

    def _throw(self, scope: Pairs, name: str, message: str) -> None:
        raise Thrown(name)

    def _stall(self, scope: Pairs) -> None:
        raise Stopped

    _recurse = _stall


class _Transaction(Pairs):
    open = True


class _Absent:
    """What `pop` gives for a key that is not there; None is a value."""


def _check_open(scope: Pairs) -> None:
    if isinstance(scope, _Transaction) and not scope.open:
        raise Thrown("Error")


def seen(result: Any) -> Any:
    """A real result in the model's words: of a caught error only the name."""
    if isinstance(result, dict) and "kind" in result:
        return {"threw": result["name"]}
    if isinstance(result, dict):
        return {key: seen(value) for key, value in result.items()}
    if isinstance(result, list):
        return [seen(one) for one in result]
    return result
