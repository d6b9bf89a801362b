"""Handlers: warm instances for each serving version, one request at a time in each.

A request takes a warm instance of its version or makes one, and gives it back when the handler has answered (a
handler that threw is as good as new; one that was stopped is gone). When all places are taken requests wait in one
queue for each tenant, served in turns, so that one tenant's flood does not starve another's trickle; a full queue
refuses with 503. No tenant can take every place, neither among the calls nor in the queue: handlers that do nothing
but wait hold theirs for as long as a request may last.

Invariants: at most `handlers_busy_max` calls run, `handlers_busy_per_tenant_max` of them one tenant's; while one may
run, none waits; a request whose caller has gone away takes no place in the queue; a version that no longer serves gets
no warm instances back, and what a late request warms up again goes when it has been idle for `WARM_IDLE_S`, like all
that nobody uses.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from host.invoke.ports import WorldOf
from host.model.clock import TimerHandle
from host.model.errors import (
    ACTOR_ERRORS,
    HandlerCrashed,
    HandlerError,
    HandlerTimeout,
    TenureError,
    Unavailable,
)
from host.model.limits import HostLimits
from host.model.message import CallContext, HttpRequest, HttpResponse, body_size
from host.model.version import Version
from host.sandbox.call import NO_INSTANCE, Call
from host.sandbox.engine import SandboxError
from host.sandbox.instance import FETCH, Instance
from host.sandbox.library import Library
from host.sandbox.outcome import Outcome
from host.sandbox.scheduler import Scheduler
from host.telemetry import log

CALLS_PER_INSTANCE_MAX = 20_000
"""After so many calls an instance is replaced: what a handler leaks in its globals does not grow for ever."""

WARM_IDLE_S = 60.0
SWEEP_S = 5.0

STOPPING = "The host is stopping. Try again when it is back."
NOT_STARTED = "The function cannot be started on this host; ship it again."
FAILED = "The function failed. Its logs say why, under this reply's x-request-id."

_log = log.get("invoke")


class Reply(asyncio.Future[HttpResponse]):
    """The future of one response. Cancelling it stops the call, or takes it out of the queue."""

    call: Call | None = None
    leave_queue: Callable[[], None] | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        if self.call is not None:
            self.call.cancel()
        elif self.leave_queue is not None:
            self.leave_queue()
        return True


class _Handler:
    """An instance that handles one request after the other."""

    __slots__ = ("calls", "idle_since", "instance")

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.calls = 0
        self.idle_since = 0.0


class _Job(NamedTuple):
    version: Version
    request: HttpRequest
    reply: Reply


class _Place:
    """Where a call runs: the handler it took, once it has begun."""

    __slots__ = ("handler", "unavailable")

    def __init__(self) -> None:
        self.handler: _Handler | None = None
        self.unavailable = False


class HandlerPool:
    """See the module. Everything runs on the loop."""

    def __init__(self, scheduler: Scheduler, library: Library, limits: HostLimits, world: WorldOf) -> None:
        self._scheduler = scheduler
        self._library = library
        self._limits = limits
        self._world = world
        self._warm: dict[Version, list[_Handler]] = {}
        self._waiting: OrderedDict[str, OrderedDict[Reply, _Job]] = OrderedDict()
        self._waiting_count = 0
        self._busy = 0
        self._busy_of: Counter[str] = Counter()
        self.refused = 0
        """Requests for which there was not even a place to wait."""
        self._stopping = False
        self._sweeper: TimerHandle | None = None

    @property
    def busy(self) -> int:
        return self._busy

    @property
    def warm(self) -> int:
        """Idle instances."""
        return sum(len(handlers) for handlers in self._warm.values())

    def warm_of_functions(self) -> Counter[str]:
        """Idle instances, by function id."""
        counts: Counter[str] = Counter()
        for version, handlers in self._warm.items():
            counts[version.function_id] += len(handlers)
        return counts

    @property
    def waiting(self) -> int:
        return self._waiting_count

    def fetch(self, version: Version, request: HttpRequest) -> asyncio.Future[HttpResponse]:
        """Run the handler of `version`. The future's errors are TenureError; cancelling it stops the handler."""
        reply = Reply(loop=self._scheduler.loop)
        job = _Job(version, request, reply)
        if not version.has_handler:
            reply.set_exception(HandlerError("The function has no fetch handler: its entry has no default export."))
        elif self._stopping:
            reply.set_exception(Unavailable(STOPPING))
        elif self._has_place(version.tenant):
            self._warm.setdefault(version, [])
            self._start(job)
        elif self._may_wait(version.tenant):
            self._warm.setdefault(version, [])
            self._waiting.setdefault(version.tenant, OrderedDict())[reply] = job
            self._waiting_count += 1
            reply.leave_queue = partial(self._leave_queue, version.tenant, reply)
        else:
            self.refused += 1
            reply.set_exception(Unavailable("The host has too many requests waiting. Try again in a moment."))
        return reply

    def _has_place(self, tenant: str) -> bool:
        limits = self._limits
        return self._busy < limits.handlers_busy_max and self._busy_of[tenant] < limits.handlers_busy_per_tenant_max

    def _may_wait(self, tenant: str) -> bool:
        limits = self._limits
        waiting = len(self._waiting.get(tenant, ()))
        return self._waiting_count < limits.handler_queue_max and waiting < limits.handler_queue_per_tenant_max

    def retire(self, version: Version) -> None:
        """`version` serves no longer: requests in flight finish on it, its warm instances go."""
        for handler in self._warm.pop(version, ()):
            handler.instance.close()

    def close(self) -> None:
        """Drop the warm instances and answer those who wait. Calls that run are the scheduler's to end."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for version in list(self._warm):
            self.retire(version)
        while self._waiting:
            self._take_waiting(next(iter(self._waiting))).reply.set_exception(Unavailable(STOPPING))

    def _start(self, job: _Job) -> None:
        """Queue the call. It takes an instance only when its turn has come: a handler that answers without waiting is
        done before the next one begins, so requests that come together run on one instance, the one whose memory is
        in the processor's cache.
        """
        version, request, reply = job
        self._busy += 1
        self._busy_of[version.tenant] += 1
        place = _Place()
        call = Call(
            self._scheduler,
            NO_INSTANCE,
            version.tenant,
            self._world(version),
            version.limits,
            version.limits.request_wall_s,
            lambda call, outcome: self._ended(call, outcome, job, place),
            context=CallContext(request.request_id, (), request.trace),
        )
        call.acquire = lambda: self._take(version, place)
        reply.call = call
        method, url, headers, body, binary = request[:5]
        call.start(FETCH, method.encode(), url.encode(), headers, body, binary)

    def _take(self, version: Version, place: _Place) -> Instance:
        """The warm instance that ran last, or a new one."""
        warm = self._warm.get(version)
        try:
            handler = warm.pop() if warm else _Handler(self._library.instance(version.artifact, version.limits))
        except (SandboxError, OSError) as error:
            _log.error("handler_not_started", function=version.function_name, version=version.number, error=error)
            place.unavailable = True
            raise
        handler.calls += 1
        place.handler = handler
        return handler.instance

    def _ended(self, call: Call, outcome: Outcome, job: _Job, place: _Place) -> None:
        self._busy -= 1
        self._busy_of[job.version.tenant] -= 1
        if not self._busy_of[job.version.tenant]:
            del self._busy_of[job.version.tenant]
        reply, request = job.reply, job.request
        reply.call = None
        call.world.ended(call, request.method, request.url, body_size(request), outcome)
        if outcome.kind == "responded" and outcome.response is not None:
            if not reply.done():
                reply.set_result(outcome.response)
        else:
            if outcome.kind == "cancelled" and not reply.cancelled():
                self._stopping = True  # nobody but a host that stops cancels a call that is waited for
            error = Unavailable(NOT_STARTED) if place.unavailable else _error(outcome, job.version)
            if not reply.done():
                reply.set_exception(error)
        if place.handler is not None:
            self._give_back(job.version, place.handler, outcome)
        while not self._stopping and (tenant := next(filter(self._has_place, self._waiting), None)) is not None:
            self._start(self._take_waiting(tenant))

    def _give_back(self, version: Version, handler: _Handler, outcome: Outcome) -> None:
        instance = handler.instance
        if instance.closed:
            return
        warm = self._warm.get(version)
        if (
            warm is None
            or self._stopping
            or len(warm) >= self._limits.handlers_warm_per_version_max
            or handler.calls >= CALLS_PER_INSTANCE_MAX
            or outcome.kind not in ("responded", "failed")
        ):
            instance.close()
        else:
            handler.idle_since = self._scheduler.clock.monotonic()
            warm.append(handler)
            if self._sweeper is None:
                self._sweeper = self._scheduler.clock.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long. The longest idle are first: the last one given back is the next to run."""
        until = self._scheduler.clock.monotonic() - WARM_IDLE_S
        for handlers in self._warm.values():
            idle = sum(1 for _ in takewhile(lambda handler: handler.idle_since <= until, handlers))
            for handler in handlers[:idle]:
                handler.instance.close()
            del handlers[:idle]
        self._sweeper = self._scheduler.clock.call_later(SWEEP_S, self._sweep) if self.warm else None

    def _take_waiting(self, tenant: str) -> _Job:
        """The tenant's next job; it is the last to have its turn again."""
        queue = self._waiting.pop(tenant)
        reply, job = queue.popitem(last=False)
        reply.leave_queue = None
        self._waiting_count -= 1
        if queue:
            self._waiting[tenant] = queue
        return job

    def _leave_queue(self, tenant: str, reply: Reply) -> None:
        queue = self._waiting[tenant]
        del queue[reply]
        self._waiting_count -= 1
        if not queue:
            del self._waiting[tenant]


def _error(outcome: Outcome, version: Version) -> TenureError:
    """What the HTTP client is told: never what the handler threw."""
    match outcome.kind:
        case "timed-out" | "block-timed-out":
            return HandlerTimeout(f"The function did not answer within {version.limits.request_wall_s:g} s.")
        case "crashed":
            return HandlerCrashed(f"The function was stopped: {outcome.message}.")
        case "stalled":
            return HandlerError("The function will never answer: it waits for a promise that nothing can settle.")
        case "cancelled":
            return Unavailable(STOPPING)
        case "failed":
            known = ACTOR_ERRORS.get(outcome.name)
            if known is not None and known.retryable:
                return Unavailable("The function got no answer from an actor. Try again in a moment.")
            return HandlerError(FAILED)
        case _:
            return HandlerError(FAILED)
