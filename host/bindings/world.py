"""What one guest may reach: its environment, the actors its manifest binds, and its function's log.

A binding is a name of the manifest; a guest that makes one up reaches nothing. The tenant of every actor it calls is
its own, taken from the version and never from the guest, so no name can reach into another tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import orjson

from host.actors import turn
from host.actors.deadlock import Awaited
from host.actors.ports import Answer
from host.bindings.outbound import Outbound
from host.bindings.ports import Directory
from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.message import CallContext, HttpRequest, HttpResponse, body_size
from host.model.trace import Trace, traced
from host.model.version import Version
from host.quotas.meter import Meters
from host.sandbox.call import Call
from host.sandbox.outcome import Outcome
from host.telemetry.recorder import Recorder


class FunctionWorld:
    """`sandbox.ports.World` for one instance of `version`: a handler, or the activation of `actor`."""

    __slots__ = (
        "_actor",
        "_directory",
        "_meter",
        "_meters",
        "_outbound",
        "_recorder",
        "_types",
        "_version",
        "config",
        "mark",
    )

    def __init__(
        self,
        version: Version,
        actor: ActorId | None,
        directory: Directory,
        outbound: Outbound,
        recorder: Recorder,
        config: bytes,
        meters: Meters | None,
    ) -> None:
        self.config = config
        self._meters = meters
        self._meter = None if meters is None else meters.of(version)
        self.mark = version.mark
        self._version = version
        self._directory = directory
        self._outbound = outbound
        self._recorder = recorder
        self._actor = actor
        self._types = {binding.binding.encode(): binding.type for binding in version.manifest.actors}

    def log(self, call: Call, level: str, message: str) -> None:
        self._recorder.logged(self._version, self._actor, "console", level, call.context.request_id, message)

    def ended(self, call: Call, what: str, url: str | bytes, size: int, outcome: Outcome) -> None:
        context: CallContext = call.context
        kind, value, response = outcome.kind, outcome.value, outcome.response
        if kind != "returned" and kind != "responded" and kind != "cancelled":
            text = _uncaught(what if self._actor is not None else "fetch", outcome)
            self._recorder.logged(self._version, self._actor, "error", "error", context.request_id, text)
        status, size_out = (0, len(value)) if response is None else (response.status, body_size(response))
        now = call.clock.monotonic()
        if self._meter is not None and self._meter.cpu:
            self._meter.spend_cpu(call.cpu_s, now)
        self._recorder.invocation(
            (
                self._version,
                self._actor,
                what,
                url,
                kind,
                outcome.name,
                status,
                call.began,
                now,
                call.cpu_s,
                size,
                size_out,
                context.request_id,
                context.trace,
            )
        )

    def committed(self, call: Call, began: float, error: Exception | None) -> None:
        trace = call.context.trace.child()
        ended, failed = call.clock.monotonic(), "" if error is None else "not durable"
        self._recorder.span("commit", "internal", trace, began, ended, {}, failed)

    def invoke(self, call: Call, operation: int, binding: bytes, name: bytes, method: bytes, arguments: bytes) -> None:
        def reply(answer: Answer) -> None:
            if isinstance(answer, bytes):
                call.resolve(operation, answer)
            else:
                _reject(call, operation, answer)

        self._deliver(call, operation, binding, name, turn.invoke(method, arguments, call.context, reply))

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
        def reply(answer: Answer) -> None:
            if isinstance(answer, HttpResponse):
                call.resolve_response(operation, answer)
            else:
                _reject(call, operation, answer)

        request = HttpRequest(method.decode(), url.decode(), headers, body, binary)
        self._deliver(call, operation, binding, name, turn.fetch(request, call.context, reply))

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
        def done(response: HttpResponse | None, reason: str) -> None:
            if trace is not None:
                self._fetched(call, trace, began, request, response, reason)
            if response is not None:
                call.resolve_response(operation, response)
            else:
                call.reject(operation, "TypeError", f"fetch failed: {reason}")

        version = self._version
        if self._meters is not None and self._meter is not None:
            if refusal := self._meters.take_outbound(version, self._meter):
                call.reject(operation, "QuotaExceededError", refusal)
                return
            self._recorder.fetched(version, self._actor)
        context: CallContext = call.context
        trace, began = None, 0.0
        if context.trace is not None:
            trace, began = context.trace.child(), call.clock.monotonic()
            headers = traced(headers, trace)
        request = HttpRequest(method.decode(), url.decode(), headers, body, binary)
        allow = version.manifest.outbound_allow
        handle = self._outbound.fetch(version.tenant, request, allow, redirect.decode(), version.limits, done)
        if handle is not None:
            call.started(operation, handle)

    def _fetched(
        self, call: Call, trace: Trace, began: float, request: HttpRequest, response: HttpResponse | None, reason: str
    ) -> None:
        target = urlsplit(request.url)
        attributes = {
            "http.request.method": request.method,
            "server.address": target.hostname or "",
            "url.path": target.path,
            "http.response.status_code": 0 if response is None else response.status,
        }
        ended = call.clock.monotonic()
        self._recorder.span(f"fetch {request.method}", "client", trace, began, ended, attributes, reason)

    def _deliver(self, call: Call, operation: int, binding: bytes, name: bytes, work: turn.Turn) -> None:
        actor_type = self._types.get(binding)
        limit = self._version.limits.actor_name_bytes_max
        if actor_type is None:
            text = f"the manifest binds no actor type as {binding.decode()!r}"
            call.reject(operation, "ActorTypeNotFoundError", text)
        elif not 0 < len(name) <= limit:
            call.reject(operation, "TypeError", f"an actor's name takes 1 to {limit} bytes, not {len(name)}")
        else:
            actor = ActorId(self._version.tenant, actor_type, name.decode())
            call.started(operation, Awaited(actor, work))
            self._directory.deliver(actor, work)


def _reject(call: Call, operation: int, answer: Answer) -> None:
    if isinstance(answer, ActorError):
        call.reject(operation, answer.name, answer.detail, answer.cause)
    else:  # a guest that answers a fetch with a value, or the other way round, speaks another contract
        call.reject(operation, "ActorMethodError", "the actor answered in another way than it was asked")


def _uncaught(what: str, outcome: Outcome) -> str:
    if outcome.kind == "failed":
        return f"{what} threw {outcome.name}: {outcome.message}" + (f"\n{outcome.stack}" if outcome.stack else "")
    return f"{what} ended: {outcome.kind}" + (f": {outcome.message}" if outcome.message else "")


class Worlds:
    """Makes the worlds of a process. The environment of a version is rendered once."""

    def __init__(self, recorder: Recorder, outbound: Outbound, meters: Meters | None = None) -> None:
        self._recorder = recorder
        self._meters = meters
        self._outbound = outbound
        self._directory: Callable[[], Directory]
        self._of_handlers: dict[Version, FunctionWorld] = {}
        self._rendered: dict[Version, tuple[bytes, bytes]] = {}

    def connect(self, directory: Directory) -> None:
        """Worlds reach actors and actors get worlds: the directory is told here, before the first world is made."""
        self._directory = lambda: directory

    def of_handler(self, version: Version) -> FunctionWorld:
        world = self._of_handlers.get(version)
        if world is None:
            before, after = self._render(version)
            config = before + b"null" + after
            world = self._world(version, None, config)
            self._of_handlers[version] = world
        return world

    def of_actor(self, version: Version, actor: ActorId) -> FunctionWorld:
        before, after = self._render(version)
        config = before + orjson.dumps({"type": actor.type, "name": actor.name}) + after
        return self._world(version, actor, config)

    def _world(self, version: Version, actor: ActorId | None, config: bytes) -> FunctionWorld:
        return FunctionWorld(version, actor, self._directory(), self._outbound, self._recorder, config, self._meters)

    def retire(self, version: Version) -> None:
        self._rendered.pop(version, None)
        self._of_handlers.pop(version, None)

    def _render(self, version: Version) -> tuple[bytes, bytes]:
        found = self._rendered.get(version)
        if found is None:
            manifest = version.manifest
            before = b'{"function":' + orjson.dumps(version.function_name) + b',"actor":'
            rest = orjson.dumps(
                {
                    "actors": [{"binding": binding.binding, "type": binding.type} for binding in manifest.actors],
                    "vars": dict(manifest.env_vars),
                    "secrets": dict(version.secrets),
                }
            )
            found = self._rendered[version] = (before, b"," + rest[1:])
        return found
