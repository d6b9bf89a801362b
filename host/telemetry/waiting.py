"""Log lines on their way: in a worker until they are sent, in the control process until they are on disk.

Bounds, for each function and for all: what is too much pushes out the oldest lines of the function that logs most, so
a flood costs the one that makes it. How many went is kept beside what stayed.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from host.model.limits import LOG_LIMITS, LogLimits


class Lines(NamedTuple):
    """Lines of one function, the oldest first, each a JSON object without a newline; `dropped` came before them."""

    function_id: str
    lines: list[bytes]
    dropped: int


class _Queue:
    __slots__ = ("dropped", "lines", "size")

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque()
        self.size = 0
        self.dropped = 0

    def drop(self) -> int:
        """Let the oldest line go; its bytes."""
        size = len(self.lines.popleft())
        self.size -= size
        self.dropped += 1
        return size


class Waiting:
    """See the module. `dropped` counts all lines that had to go."""

    def __init__(self, limits: LogLimits = LOG_LIMITS) -> None:
        self._limits = limits
        self._queues: dict[str, _Queue] = {}
        self._size = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, function_id: str, line: bytes) -> None:
        queue = self._queues.get(function_id)
        if queue is None:
            queue = self._queues[function_id] = _Queue()
        queue.lines.append(line)
        queue.size += len(line)
        self._size += len(line)
        while queue.size > self._limits.waiting_function_bytes_max and len(queue.lines) > 1:
            self._drop(queue)
        while self._size > self._limits.waiting_bytes_max:
            self._drop(max(self._queues.values(), key=lambda one: one.size))

    def missed(self, function_id: str, count: int) -> None:
        """`count` lines of a function went before they came here."""
        if count:
            self._queues.setdefault(function_id, _Queue()).dropped += count

    def _drop(self, queue: _Queue) -> None:
        self._size -= queue.drop()
        self.dropped += 1

    def forget(self, function_id: str) -> None:
        queue = self._queues.pop(function_id, None)
        if queue is not None:
            self._size -= queue.size

    def take(self) -> list[Lines]:
        """All that waits. Nothing does afterwards."""
        queues, self._queues, self._size = self._queues, {}, 0
        return [Lines(function_id, list(queue.lines), queue.dropped) for function_id, queue in queues.items()]
