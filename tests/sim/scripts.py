"""What actors are told to do: scripts for the Probe of `tests/guests/actors`, as strategies.

Steps are drawn from pools that are made once, from a fixed seed and with the simple ones first: drawing is then one
number for a step, which is many times faster than building it from its parts, and shrinking still works.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

Step = list[Any]

KEYS = ("a", "ab", "b", "b\0", "é", "\uffff", "\U0001f980")
ODD_KEYS = (*KEYS, "on-alarm", "fired")
DELAYS_MS = (1250, 0, -1000, 5250, 60_250)
SCALARS = (0, 1, None, True, -(2**31), 1.5, "", "x", 'é"\\', "\U0001f980")
SIZES = (10, 3000, 5000)
"""For `fill`: with the quota of 6,000 bytes some fit beside each other and some do not; above 4,096 nothing is kept
of a read."""


def _value(random: Random) -> Any:
    kind = random.randrange(4)
    if kind == 0:
        return [random.choice(SCALARS) for _ in range(random.randrange(4))]
    if kind == 1:
        return {"n": random.choice(SCALARS)}
    return random.choice(SCALARS)


def _some(random: Random, keys: tuple[str, ...]) -> list[str]:
    return [random.choice(keys) for _ in range(random.randrange(4))]


def _list_options(random: Random) -> dict[str, Any]:
    choices: dict[str, Any] = {
        "prefix": random.choice(("", "a", "b", "é")),
        random.choice(("start", "startAfter")): random.choice(KEYS),
        "end": random.choice(ODD_KEYS),
        "reverse": random.random() < 0.5,
        "limit": random.randint(1, 4),
    }
    return {name: value for name, value in choices.items() if random.random() < 0.4}


def _storage(random: Random) -> Step:
    match random.randrange(9):
        case 0 | 1 | 2:
            return ["put", random.choice(KEYS), _value(random)]
        case 3:
            return ["put", {key: _value(random) for key in _some(random, KEYS)}]
        case 4:
            return ["fill", random.choice(KEYS), random.choice(SIZES)]
        case 5:
            return ["get", random.choice(ODD_KEYS) if random.random() < 0.5 else _some(random, ODD_KEYS)]
        case 6:
            return ["delete", random.choice(ODD_KEYS) if random.random() < 0.5 else _some(random, KEYS)]
        case _:
            return ["list", _list_options(random)]


def _throw(random: Random) -> Step:
    return ["throw", random.choice(("Error", "RangeError", "Mine")), "on purpose"]


def _within(random: Random) -> list[Step]:
    """What a transaction does."""
    steps = [_storage(random) for _ in range(random.randint(1, 4))]
    odd = random.randrange(6)
    if odd < 3:
        extra = (["rollback"], _throw(random), ["try", _storage(random)])[odd]
        steps.insert(random.randint(0, len(steps)), extra)
    return steps


def _step(random: Random) -> Step:
    match random.randrange(20):
        case 0 | 1 | 2:
            return ["transaction", _within(random)]
        case 3 | 4 | 5:
            return ["try", ["transaction", _within(random)]]
        case 6 | 7:
            return ["try", _storage(random)]
        case 8 | 9:
            return ["setAlarmIn", random.choice(DELAYS_MS)]
        case 10:
            return random.choice((["deleteAlarm"], ["getAlarm"]))
        case 11:
            return ["deleteAll"]
        case _:
            return _storage(random)


def _alarm_script(random: Random) -> list[Step]:
    """It arms itself again, or fails, or works; never for a time that is over, which would go on for ever."""
    steps = [_storage(random) for _ in range(random.randrange(3))]
    end: Step | None = random.choice((None, None, ["setAlarmIn", 1250], ["deleteAlarm"], ["stall"], _throw(random)))
    return steps if end is None else [*steps, end]


def _pool(make: Any, count: int) -> list[Any]:
    random = Random(count)
    return sorted((make(random) for _ in range(count)), key=lambda made: len(repr(made)))


STEPS = st.lists(st.sampled_from(_pool(_step, 1000)), min_size=1, max_size=6)
"""A turn that ends well unless a step of it is refused."""

_ENDS: list[list[Step]] = [[]] * 8 + [[["throw", "Error", "no"]], [["throw", "Mine", "no"]], [["stall"]], [["recurse"]]]
TURN = st.tuples(STEPS, st.sampled_from(_ENDS)).map(lambda parts: [*parts[0], *parts[1]])
"""Any turn: one in three ends by a throw or is killed."""

ON_ALARM = st.sampled_from(_pool(_alarm_script, 100))
