"""The admin API's real application on a registry in memory, with a client for each key.

The actors' room has no sandbox here: what these tests need of it is what it keeps, not a turn.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from quart import Quart
from quart import typing as quart_typing
from quart.wrappers import Response

from host.actors.dead import TenantAlarms
from host.actors.directory import Directory
from host.actors.erase import TenantState
from host.actors.exports import Exports
from host.actors.ports import no_owner
from host.admin.app import create_admin_app
from host.admin.services import EXTENSION, AdminServices
from host.backup import pack
from host.backup.backups import Backups
from host.backup.snapshot import Snapshots
from host.cluster.shard import Shard
from host.cluster.wire import decode_call, encode_answer
from host.model.errors import ActorTypeNotFoundError
from host.model.limits import HOST_LIMITS
from host.model.message import HttpResponse
from host.quotas.page import private_page
from host.registry.departures import Departures
from host.registry.usage import Usage
from host.sandbox.instance import INVOKE
from host.storage.layout import Layout
from host.supervisor.actors import AllActors, ShardActors
from host.supervisor.staff import Staff
from host.supervisor.usage import AllUsage
from host.telemetry.observed import Observed
from tests.kit.conformity import check_reply
from tests.unit.registry_kit import Host

BACKUP = "20261123T130141Z-412"


class Api:
    """A client with a key."""

    def __init__(self, client: quart_typing.TestClientProtocol, key: str) -> None:
        self.client, self.key = client, key

    async def __call__(self, method: str, path: str, **arguments: Any) -> Response:
        headers = {"authorization": f"Bearer {self.key}", **arguments.pop("headers", {})}
        route = path if path == "/metrics" else "/v1" + path
        response = await self.client.open(route, method=method, headers=headers, **arguments)
        assert isinstance(response, Response)
        body = await response.get_data(as_text=False) if response.mimetype == "application/json" else None
        check_reply(method, route, response.status_code, response.headers, body)
        return response

    async def json(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        response = await self(method, path, **arguments)
        body = await response.get_json()
        assert response.status_code == status, body
        return body

    async def refused(self, method: str, path: str, status: int, **arguments: Any) -> list[dict[str, str]]:
        """The errors of a reply, which has the one shape."""
        body = await self.json(method, path, status, **arguments)
        assert list(body) == ["errors"]
        assert body["errors"]
        for error in body["errors"]:
            assert list(error) == ["code", "title", "detail"]
            assert all(isinstance(text, str) and text for text in error.values())
        return list(body["errors"])

    async def ship(self, ref: str, data: bytes, status: int = 202) -> Any:
        return await self.json("POST", f"/functions/{ref}/versions", status, data=data)

    def with_key(self, key: str) -> Api:
        return Api(self.client, key)


def services_of(host: Host) -> AdminServices:
    """What the admin API of `host` works on; all of it is of the engine that the host has now."""
    no_sandbox = cast(Any, None)
    rooms = (host.engine, host.committer, no_sandbox, no_sandbox, host.clock, HOST_LIMITS, host.registry.version_of)
    directory = Directory(*rooms, no_sandbox)

    async def status() -> Mapping[str, Any]:
        return {"version": "0.1.0", "uptime_s": 1.5, "counts": {"tenants": len(host.registry.accounts.tenants())}}

    shard = SimpleNamespace(directory=directory, committer=host.committer, exports=Exports(host.engine, host.clock))
    questions = ShardActors(lambda _number: cast(Shard, shard))

    async def answer(number: int, question: Any) -> Any:
        return json.loads(json.dumps(await questions.answer(json.loads(json.dumps([number, question])))))

    async def call(_number: int, payload: bytes) -> bytes:
        """What comes of a call: 5 from an actor that a function has, of others that nobody does."""
        found = decode_call(payload, lambda _answer: None)
        if directory.version_of(found.actor) is None:
            return encode_answer(ActorTypeNotFoundError(no_owner(found.actor.type)))
        return encode_answer(b"5" if found.turn.export is INVOKE else HttpResponse(200, b"x: y\n", b"5"))

    async def counts() -> Mapping[int, Any]:
        return {}  # there is no worker

    rows = Usage(host.engine, host.committer, host.clock, host.registry.by_id)
    usage = AllUsage(host.registry, rows, private_page(), Staff(list), host.clock)
    return AdminServices(
        host.registry,
        host.publisher,
        lambda label: f"http://{label}.localhost:8787",
        status,
        TenantAlarms(directory),
        Departures(host.registry, host.publisher, TenantState(directory)),
        AllActors(1, answer, call),
        observed=Observed(host.folder / "logs", host.clock, host.registry.function_ids),
        counts=counts,
        backups=backups_of(host),
        usage=usage,
    )


def backups_of(host: Host) -> Backups:
    """With one that is complete, `BACKUP`. Another fails, because there is no engine that could be copied."""
    folder, empty = host.folder / "backups", host.folder / "empty"
    if not (folder / BACKUP).exists():
        folder.mkdir()
        empty.mkdir()
        pack.pack(empty, folder, BACKUP, 1.5, lambda _count: None)
    snapshots = Snapshots(host.folder, Layout(1), cast(Any, None), Staff(list), list)
    return Backups(host.folder, folder, snapshots)


@functools.cache
def _made() -> Quart:
    limits = SimpleNamespace(compressed_bytes_max=0)
    return create_admin_app(cast(AdminServices, SimpleNamespace(publisher=SimpleNamespace(limits=limits))))


def app_of(services: AdminServices) -> Quart:
    """An application for these services. Routes hold no state and take a tenth of a second to make: all share them."""
    app = copy.copy(_made())
    app.extensions = {EXTENSION: services}
    app.config = copy.copy(app.config)
    app.config["MAX_CONTENT_LENGTH"] = services.publisher.limits.compressed_bytes_max
    return app


async def api_of(host: Host, key: str) -> Api:
    return Api(app_of(services_of(host)).test_client(), key)
