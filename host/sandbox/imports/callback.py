"""How a Python function becomes an import of the guest.

`host_function` registers `answer(call, *arguments)` under its name in the WIT world, with the kinds of its parameters
and of its result; `crossing` says how values of these kinds cross, and what happens when something goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from host.sandbox.crossing import NOTHING, Answer
from host.sandbox.native import crossing

TABLE: dict[str, dict[str, tuple[int, int, object]]] = {}
"""Interface -> function name -> the callback's address, its environment's, and what keeps both alive."""

A = TypeVar("A", bound=Answer)


def host_function(interface: str, name: str, *kinds: int, result: int = NOTHING) -> Callable[[A], A]:
    """Register the function below as the import `interface#name`."""

    def wrap(answer: A) -> A:
        callback = crossing.host_function(f"{interface}#{name}", bytes(kinds), result, answer)
        TABLE.setdefault(f"tenure:edge/{interface}@0.1.0", {})[name] = callback
        return answer

    return wrap
