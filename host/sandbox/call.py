"""One call of a guest (a `fetch`, an `invoke` or an `alarm`), from its start to its outcome.

    queued -> running <-> (sliced) -> waiting for operations -> running ... -> ended

The call owns its instance while it lasts: it starts the export, delivers the outcomes of operations one by one,
meters CPU time, and ends when the guest has said its outcome and nothing more is left to run in it. What the guest
asks for during a slice (operations, log lines) waits in `_outbox` until the slice is over and is done on the loop; so
imports touch nothing but this object, whatever thread the guest is polled on. What can be asked for without end in one
slice is kept bounded: operations by their number, log lines by their bytes, the rest as the last thing said.

Ending is final: `done` is called exactly once, on the loop, with the outcome. When the outcome is anything but
`returned`, `responded` or `failed`, the instance has been closed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from host.model.clock import Clock, TimerHandle
from host.model.limits import Limits
from host.model.message import HttpResponse
from host.sandbox.instance import REJECT, RESOLVE, RESOLVE_RESPONSE, Export, Instance
from host.sandbox.outcome import Outcome
from host.sandbox.ports import Refusal, Storage, World
from host.telemetry import log

if TYPE_CHECKING:
    from host.sandbox.scheduler import Scheduler

FAILED = "the host failed while running it"
_BELOW_MEMORY = re.compile(r"memory fault at wasm address 0x(ff[0-9a-f]{6}|1000[0-9a-f]{5})\b")
"""A guest's own stack lies at the start of its memory, so it overflows to just below address 0, which is the end of
what 32 bits reach; with an instruction's own offset it may be beyond that.
"""
LEVELS = frozenset(("debug", "info", "warn", "error"))
SLICE_S = 0.002
"""A tick may come right after a guest began; within this time it is simply polled again."""
SLICE_COUNTED_S_MAX = 0.1
"""What took longer on a clock that goes on did not run all the time: the process was stopped, or the machine slept."""

_log = log.get("sandbox")


SMALL_BYTES = 4_096
"""What an operation may carry without being counted: a thousand of them are nothing."""


class GuestFault(Exception):
    """The guest broke the contract; the text may be shown to the tenant."""


class _NoStorage:
    """Stands where a handler's storage would be."""

    def __getattr__(self, name: str) -> Any:
        raise GuestFault("only an actor has storage")


NO_STORAGE: Any = _NoStorage()


class _NoInstance:
    """Stands where the instance will be of a call that takes one when it begins."""

    call = None
    running = ready = False
    closed = True

    def close(self) -> None:
        """There is nothing to close."""


NO_INSTANCE: Any = _NoInstance()


class Call:
    """See the module. Times are seconds; `cpu_s` is what the guest has used so far."""

    __slots__ = (
        "_block_said",
        "_cancelled",
        "_inbox",
        "_large",
        "_log_bytes",
        "_outbox",
        "_pending",
        "acquire",
        "began",
        "blocked",
        "clock",
        "context",
        "cpu_s",
        "done",
        "ended",
        "instance",
        "kill",
        "limits",
        "on_wait",
        "outcome",
        "owned",
        "scheduler",
        "storage",
        "tenant",
        "wall_s",
        "world",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        instance: Instance,
        tenant: str,
        world: World,
        limits: Limits,
        wall_s: float,
        done: Callable[[Call, Outcome], None],
        storage: Storage = NO_STORAGE,
        context: Any = None,
    ) -> None:
        self.scheduler = scheduler
        self.instance = instance
        self.tenant = tenant
        self.world = world
        self.limits = limits
        self.wall_s = wall_s
        self.done = done
        self.storage = storage
        self.context = context
        self.clock: Clock = scheduler.clock
        self.on_wait: Callable[[Call], None] | None = None
        self.acquire: Callable[[], Instance] | None = None
        """Gives the instance of a call that was made with NO_INSTANCE, when its turn has come."""
        self.cpu_s = 0.0
        self.outcome: Outcome | None = None
        self.kill: Outcome | None = None
        self.ended = False
        self.owned = False  # in the scheduler's hands: queued or being polled
        self.blocked = False
        self._inbox: deque[tuple[Export, tuple[Any, ...]]] = deque()
        self._outbox: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._pending: dict[int, TimerHandle | None] = {}
        self._large: dict[int, int] = {}  # bytes of those operations under way that are not small
        self._cancelled: set[int] = set()
        self._block_said = False
        self.began = 0.0
        self._log_bytes = 0

    def start(self, export: Export, *parameters: Any) -> None:
        """Queue the call. Its wall-clock limit runs from now."""
        self._inbox.append((export, parameters))
        self.began = self.clock.monotonic()
        self.scheduler.watch(self, self.wall_s)
        self.scheduler.submit(self)

    # What the guest does through its imports, on whatever thread polls it.

    def start_operation(self, begin: Callable[..., None], arguments: tuple[Any, ...]) -> int:
        limits = self.limits
        if len(self._pending) >= limits.operations_max:
            raise GuestFault(f"more than {limits.operations_max} operations under way at once")
        self.instance.operations += 1
        operation = self.instance.operations
        size = sum(len(argument) for argument in arguments if type(argument) is bytes)
        if size > SMALL_BYTES:
            self._large[operation] = size
            if sum(self._large.values()) > limits.operation_bytes_max:
                raise GuestFault(f"more than {limits.operation_bytes_max >> 20} MiB in operations under way at once")
        self._pending[operation] = None
        self._outbox.append((begin, (self, operation, *arguments)))
        return operation

    def cancel_timer(self, operation: int) -> None:
        if operation in self._pending:
            self._cancelled.add(operation)

    def end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            raise GuestFault("the outcome of a call was said twice")
        self.outcome = outcome

    def log(self, level: str, message: str) -> None:
        limit = self.limits.log_bytes_per_call_max
        if self._log_bytes > limit:
            return
        if level not in LEVELS:
            level = "info"
        self._log_bytes += len(message) + 16
        if self._log_bytes > limit:
            level, message = "warn", f"more than {limit} bytes of log in one call: the rest is dropped"
        self._outbox.append((self.world.log, (self, level, message)))

    def block(self, blocked: bool) -> None:
        self.blocked = blocked
        self._block_said = True

    # Operations, on the loop.

    @staticmethod
    def start_timer(call: Call, operation: int, milliseconds: float) -> None:
        if operation in call._pending:
            fire = partial(call.resolve, operation, b"")
            call._pending[operation] = call.clock.call_later(milliseconds / 1000, fire)

    def _cancel_timers(self) -> None:
        for operation in self._cancelled:
            handle = self._pending.get(operation)
            if handle is not None:
                handle.cancel()
                del self._pending[operation]
        self._cancelled.clear()

    def _watch_block(self) -> None:
        """The limit that holds from now on. Blocking again and again buys no more than one of each in all."""
        self._block_said = False
        if self.clock.monotonic() - self.began > self.wall_s + self.limits.init_wall_s:
            self.overdue()
        else:
            self.scheduler.watch(self, self.limits.init_wall_s if self.blocked else self.wall_s)

    def started(self, operation: int, handle: TimerHandle) -> None:
        """What cancels `operation`, should the guest cancel it or the call end first."""
        if operation in self._pending:
            self._pending[operation] = handle

    def waits(self) -> dict[int, TimerHandle | None] | None:
        """The operations under way, by number, when the guest can do nothing until one is done; else None."""
        return None if self.ended or self.owned or self._inbox else self._pending

    def resolve(self, operation: int, value: bytes) -> None:
        """An operation is done: tell the guest. Ignored when the call has ended or the operation is not under way."""
        self._deliver(operation, RESOLVE, (operation, value))

    def resolve_response(self, operation: int, response: HttpResponse) -> None:
        status, headers, body, binary = response
        self._deliver(operation, RESOLVE_RESPONSE, (operation, status, headers, body, binary))

    def reject(self, operation: int, name: str, message: str, cause: str = "") -> None:
        texts = (text.encode(errors="replace") for text in (name, message, cause))
        self._deliver(operation, REJECT, (operation, *texts))

    def _deliver(self, operation: int, export: Export, parameters: tuple[Any, ...]) -> None:
        if self.ended or operation not in self._pending:
            return
        del self._pending[operation]
        self._large.pop(operation, None)
        self._inbox.append((export, parameters))
        self.scheduler.submit(self)

    def cancel(self) -> None:
        """Nobody waits for the outcome any more: stop at the next possible moment."""
        self.stop(Outcome("cancelled", message="the caller went away"))

    def overdue(self) -> None:
        """The wall-clock limit has passed."""
        self.stop(Outcome("block-timed-out" if self.blocked else "timed-out"))

    def stop(self, outcome: Outcome) -> None:
        """End the call with `outcome` now, or, while another thread polls it, at the end of that slice."""
        if self.ended or self.kill is not None:
            return
        self.kill = outcome
        if not self.scheduler.burning(self):
            self.finish(outcome)

    # Running, by the scheduler.

    def begin_next(self) -> bool:
        """Start the next export if none is running. False when there is nothing to run."""
        if self.acquire is not None:
            self.instance = self.acquire()
            self.acquire = None
        instance = self.instance
        if instance.running:
            return True
        if not self._inbox:
            return False
        instance.call = self
        if not instance.ready:
            instance.begin_instantiation()
        else:
            export, parameters = self._inbox.popleft()
            instance.begin(export, parameters)
        return True

    def run_slice(self, meter: Callable[[], float] = perf_counter) -> bool:
        """Poll for about a slice, as `meter` counts seconds. True when the export has returned."""
        started = meter()
        poll = self.instance.poll
        while True:
            returned = poll()
            elapsed = meter() - started
            if returned or elapsed >= SLICE_S:
                self.cpu_s += min(elapsed, SLICE_COUNTED_S_MAX)
                return returned

    def over_cpu(self) -> bool:
        return self.cpu_s > self.limits.call_cpu_s

    def after_return(self) -> None:
        """The export has returned: do what the guest asked for, then end, go on or wait."""
        instance = self.instance
        if instance.trap is not None or instance.failure is not None:
            self.finish(Outcome("crashed", message=_trap_reason(instance)))
            return
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for begin, arguments in outbox:
                begin(*arguments)
                if self.ended:
                    return
        if self._cancelled:
            self._cancel_timers()
        if self.outcome is not None:
            self.finish(self.outcome)
            return
        if self._block_said:
            self._watch_block()
        if not self.ended:
            self._go_on()

    def _go_on(self) -> None:
        """Nothing is running: run what is next, or wait, or see that there is nothing to wait for."""
        if self.over_cpu():
            self.finish_over_cpu()
        elif self._inbox:
            self.scheduler.submit(self)
        elif not self._pending:
            self.finish(Outcome("stalled", message="it waits for a promise that nothing can settle"))
        elif self.on_wait is not None:
            self.on_wait(self)

    def finish_over_cpu(self) -> None:
        self.finish(Outcome("crashed", message=f"it used more than its {self.limits.call_cpu_s:g} s of CPU time"))

    def finish(self, outcome: Outcome) -> None:
        """End with `outcome`. Nothing that goes wrong above (a log, `done`) leaves this call half ended."""
        if self.ended:
            return
        self.ended = True
        self.scheduler.forget(self)
        for handle in self._pending.values():
            if handle is not None:
                handle.cancel()
        self._pending.clear()
        self._inbox.clear()
        self.instance.call = None
        outbox, self._outbox = self._outbox, []
        if outcome.kind not in ("returned", "responded", "failed"):
            self.instance.close()
            for begin, arguments in outbox:
                if begin == self.world.log:
                    _guarded("log_failed", begin, *arguments)
        _guarded("done_failed", self.done, self, outcome)


def _guarded(event: str, callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception as error:
        _log.exception(event, error)


def _trap_reason(instance: Instance) -> str:
    """Why the guest was stopped, in words for its tenant; nothing of the host's own."""
    failure, trap = instance.failure, instance.trap or ""
    if isinstance(failure, GuestFault):
        return str(failure)
    if isinstance(failure, ValueError | Refusal):
        return "it used a host function in a way that is not allowed"
    if failure is not None:
        _log.exception("import_failed", failure)
        return FAILED
    if "call stack exhausted" in trap or _BELOW_MEMORY.search(trap):
        return "it ran out of stack (endless recursion?)"
    for line in reversed(trap.splitlines()):
        if "wasm trap: " in line:
            return f"WebAssembly trap: {line.split('wasm trap: ', 1)[1].strip()}"
    return "it could not run"
