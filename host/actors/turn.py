"""One unit of work on an actor: an RPC method, a `fetch` or an alarm, with whoever waits for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host.actors.ports import Reply
from host.actors.transaction import Transaction
from host.model.errors import (
    ACTOR_ERRORS,
    ActorCrashedError,
    ActorError,
    ActorFetchTimeoutError,
    ActorMethodError,
    ActorMethodTimeoutError,
    BlockConcurrencyTimeoutError,
    TenureError,
)
from host.model.ids import ActorId
from host.model.limits import Limits
from host.model.message import CallContext, HttpRequest
from host.sandbox.instance import ALARM, FETCH, INVOKE, Export
from host.sandbox.outcome import Outcome
from host.storage.ports import Write
from host.storage.records import ActorRecord

EditWork = Callable[[Transaction, ActorRecord], list[Write]]
"""Takes the actor's storage as the work is to see and change it, and its record."""


class Turn:
    """`reply` is called exactly once with the answer. A caller that has gone away ignores it: the work is done anyway.

    `due_ms`: of an alarm, the time it was set for; the turn is skipped if the actor's alarm is another by then.
    `size`: bytes that its parameters take while it waits.
    """

    __slots__ = ("context", "due_ms", "export", "parameters", "reply", "size", "waits_since", "what")

    def __init__(
        self,
        export: Export,
        parameters: tuple[Any, ...],
        what: str,
        context: CallContext,
        reply: Reply,
        due_ms: int | None = None,
    ) -> None:
        self.export = export
        self.parameters = parameters
        self.what = what
        self.context = context
        self.reply = reply
        self.due_ms = due_ms
        self.size = sum([len(parameter) for parameter in parameters if type(parameter) is bytes])
        self.waits_since: float | None = None  # of the monotonic clock; when others were before it in the mailbox

    def wall_s(self, limits: Limits) -> float:
        if self.export is INVOKE:
            return limits.method_wall_s
        return limits.actor_fetch_wall_s if self.export is FETCH else limits.alarm_wall_s

    def error(self, actor: ActorId, outcome: Outcome, limits: Limits) -> ActorError:
        """The error of a turn that ended with anything but a result, as its caller sees it."""
        target = f"{actor.type} {actor.name!r}"
        match outcome.kind:
            case "failed":
                return _thrown(outcome)
            case "timed-out":
                kind = ActorFetchTimeoutError if self.export is FETCH else ActorMethodTimeoutError
                return kind(f"{self.what} of {target} took longer than {self.wall_s(limits):g} s and was stopped")
            case "block-timed-out":
                return BlockConcurrencyTimeoutError(
                    f"blockConcurrencyWhile of {target} took longer than {limits.init_wall_s:g} s"
                )
            case "cancelled":  # only a host that stops cancels turns
                return ActorCrashedError(f"{self.what} of {target} was stopped, and so is the host")
            case _:
                return ActorCrashedError(f"{self.what} of {target} was stopped: {outcome.message}")


def _thrown(outcome: Outcome) -> ActorError:
    known = ACTOR_ERRORS.get(outcome.name)
    if known is not None:
        # thrown by the code itself, an ActorMethodError is all the cause there is
        cause = outcome.cause or (outcome.name if known is ActorMethodError else "")
        return known(outcome.message, cause=cause, stack=outcome.stack)
    return ActorMethodError(outcome.message, cause=outcome.name, stack=outcome.stack)


class Edit(Turn):
    """What is done to an actor's storage without its guest, in its place among the turns: all of it or nothing.

    `work` writes to the transaction and gives what is to be written with it; it raises TenureError to leave everything
    as it was, which is then kept as `refusal`. `erases`: it removes the actor, record and all.
    """

    __slots__ = ("erases", "refusal", "work")

    def __init__(self, work: EditWork, reply: Reply, *, erases: bool = False) -> None:
        super().__init__(INVOKE, (), "an edit", CallContext(), reply)
        self.work = work
        self.erases = erases
        self.refusal: TenureError | None = None


def invoke(method: bytes, arguments: bytes, context: CallContext, reply: Reply) -> Turn:
    """A call of a method. `arguments` is a wire value: an array."""
    return Turn(INVOKE, (method, arguments), f"{method.decode(errors='replace')}()", context, reply)


def fetch(request: HttpRequest, context: CallContext, reply: Reply) -> Turn:
    parameters = (request.method.encode(), request.url.encode(), request.headers, request.body, request.binary)
    return Turn(FETCH, parameters, "fetch", context, reply)


def alarm(due_ms: int, retry_count: int, context: CallContext, reply: Reply) -> Turn:
    return Turn(ALARM, (retry_count,), "alarm", context, reply, due_ms)
