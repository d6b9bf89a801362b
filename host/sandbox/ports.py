"""What the sandbox needs from above: who answers a guest's imports. `bindings` and `actors` implement these.

Everything is called with the raw UTF-8 bytes that crossed. `Storage` methods may be called on the sandbox's
background thread (a guest that burns CPU is polled there) and touch nothing but their own turn; `World` methods and
`Call.done` are called on the loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from host.sandbox.call import Call
    from host.sandbox.outcome import Outcome


class Refusal(Exception):
    """The host refuses what the guest asked: the guest sees an error of this name and message, and goes on."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Storage(Protocol):
    """The running turn's view of its actor's storage. `txn` 0 is the turn; other numbers come from `begin`.

    A `txn` that is not open raises ValueError, which traps the guest, as does a `Refusal` where the world has no place
    for one. Any other exception is the host's own failure: it is logged, and the call ends as crashed.
    """

    def get(self, txn: int, key: bytes) -> bytes | None: ...
    def put(self, txn: int, key: bytes, value: bytes) -> None: ...
    def delete(self, txn: int, key: bytes) -> bool: ...
    def list(
        self, txn: int, prefix: bytes, start: bytes, end: bytes | None, reverse: bool, limit: int
    ) -> list[tuple[bytes, bytes]]: ...
    def delete_all(self, txn: int) -> None: ...
    def begin(self, txn: int) -> int: ...
    def commit(self, txn: int) -> None: ...
    def rollback(self, txn: int) -> None: ...
    def get_alarm(self) -> float | None: ...
    def set_alarm(self, at_ms: float | None) -> None: ...
    def ready(self) -> None:
        """The constructor is done: what it wrote is a turn of its own."""
        ...


class World(Protocol):
    """What one instance may reach, apart from storage."""

    config: bytes
    """The JSON text that `config.get` gives."""

    mark: int
    """Of the version, for `Scheduler.marks`."""

    def log(self, call: Call, level: str, message: str) -> None: ...

    def ended(self, call: Call, what: str, url: str | bytes, size: int, outcome: Outcome) -> None:
        """Note how the call of `what` went. `size`: bytes that it was given; `url`: of a request."""
        ...

    def committed(self, call: Call, began: float, error: Exception | None) -> None:
        """What a traced call wrote is durable, or will never be. `began`: when it was written, monotonic."""
        ...

    def invoke(self, call: Call, operation: int, binding: bytes, name: bytes, method: bytes, arguments: bytes) -> None:
        """Start a call of another actor; its end is told by `call.resolve` or `call.reject`."""
        ...

    def fetch(
        self,
        call: Call,
        operation: int,
        binding: bytes,
        name: bytes,
        method: bytes,
        url: bytes,
        headers: bytes,
        body: bytes,
        binary: bool,
    ) -> None:
        """Start a `fetch` of another actor; its end is told by `call.resolve_response` or `call.reject`."""
        ...

    def outbound(
        self,
        call: Call,
        operation: int,
        method: bytes,
        url: bytes,
        headers: bytes,
        body: bytes,
        binary: bool,
        redirect: bytes,
    ) -> None:
        """Start a request to the outside; its end is told by `call.resolve_response` or `call.reject`."""
        ...
