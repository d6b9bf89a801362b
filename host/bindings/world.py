"""What one guest may reach: its environment, the actors its manifest binds, and its function's log.

A binding is a name of the manifest; a guest that makes one up reaches nothing. The tenant of every actor it calls is
its own, taken from the version and never from the guest, so no name can reach into another tenant.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from host.actors import turn
from host.actors.deadlock import Awaited
from host.actors.ports import Answer
from host.bindings.outbound import Outbound
from host.bindings.ports import Directory
from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.message import CallContext, HttpRequest, HttpResponse
from host.model.version import Version
from host.sandbox.call import Call
from host.telemetry.tail import HANDLER, Line, Tails


class FunctionWorld:
    """`sandbox.ports.World` for one instance of `version`: a handler, or the activation of `actor`."""

    __slots__ = ("_directory", "_outbound", "_source", "_tails", "_types", "_version", "config", "mark")

    def __init__(
        self,
        version: Version,
        actor: ActorId | None,
        directory: Directory,
        outbound: Outbound,
        tails: Tails,
        config: bytes,
    ) -> None:
        self.config = config
        self.mark = version.mark
        self._version = version
        self._directory = directory
        self._outbound = outbound
        self._tails = tails
        self._types = {binding.binding.encode(): binding.type for binding in version.manifest.actors}
        self._source = HANDLER if actor is None else f"{actor.type}/{actor.name}"

    def log(self, call: Call, level: str, message: str) -> None:
        context: CallContext = call.context
        line = Line(call.clock.now(), level, self._source, context.request_id, message)
        self._tails.of(self._version.function_id).append(line)

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
            if response is not None:
                call.resolve_response(operation, response)
            else:
                call.reject(operation, "TypeError", f"fetch failed: {reason}")

        request = HttpRequest(method.decode(), url.decode(), headers, body, binary)
        version = self._version
        allow = version.manifest.outbound_allow
        handle = self._outbound.fetch(version.tenant, request, allow, redirect.decode(), version.limits, done)
        if handle is not None:
            call.started(operation, handle)

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


class Worlds:
    """Makes the worlds of a process. The environment of a version is rendered once."""

    def __init__(self, tails: Tails, outbound: Outbound) -> None:
        self._tails = tails
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
            world = FunctionWorld(version, None, self._directory(), self._outbound, self._tails, config)
            self._of_handlers[version] = world
        return world

    def of_actor(self, version: Version, actor: ActorId) -> FunctionWorld:
        before, after = self._render(version)
        config = before + orjson.dumps({"type": actor.type, "name": actor.name}) + after
        return FunctionWorld(version, actor, self._directory(), self._outbound, self._tails, config)

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
