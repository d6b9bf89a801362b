"""/v1/actors and /v1/actor: a tenant's actors, what they hold, and calling them.

An actor's name may be any text, so it stands in the query (`?type=&name=`), where every text can. Whoever asks has the
actors of the own tenant; only exports and imports are there for operators, too.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta
from quart import Blueprint
from quart.wrappers import Response

from host.actors import turn
from host.actors.ports import Answer
from host.admin.auth import caller
from host.admin.contract import Input, Lines, Media, NoContent, NonEmpty, takes
from host.admin.idempotency import claim_upload
from host.admin.paging import Paging, Place, cursor_of, read_cursor, wrong_cursor
from host.admin.requests import new_request_id, receive_bundle, small_body
from host.admin.services import services
from host.admin.shapes import (
    ActorPage,
    ActorType,
    ActorTypes,
    Fetched,
    Imported,
    InspectedActor,
    Returned,
    Stored,
    StoredPage,
)
from host.admin.views import actor_json, moment
from host.model import wire
from host.model.errors import (
    ActorError,
    ActorFailed,
    ActorOverloadedError,
    ActorTypeNotFoundError,
    NotFound,
    Unavailable,
    UsageError,
)
from host.model.ids import ActorId
from host.model.limits import LIMITS
from host.model.message import CallContext, HttpRequest, HttpResponse, body_from_wire, body_to_wire
from host.supervisor.actors import AllActors
from host.supervisor.transfer import export_lines, import_file

blueprint = Blueprint("actors", __name__)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,16384}")
_ORIGIN = "http://actor"
"""What a `Request` that comes from here has before its path."""

EXPORT = Media("application/x-ndjson", "What an export gave: see docs/actor-export.md.")
WIRE_VALUE = Media("application/json", "A wire value: JSON, with tags for what JSON has not.")

Prefix = Annotated[str, Meta(description="Those that begin so.")]


class ActorsQuery(Paging):
    type: Annotated[str | None, Meta(description="Of this type.")] = None
    prefix: Prefix = ""


class ActorQuery(Input):
    """Names an actor, whose name may be any text."""

    type: NonEmpty
    name: NonEmpty


class KeysQuery(Paging, kw_only=True):
    type: NonEmpty
    name: NonEmpty
    prefix: Prefix = ""


class KeyQuery(ActorQuery):
    key: NonEmpty


class ExportQuery(Input):
    """With neither: all actors of the tenant."""

    type: NonEmpty | None = None
    name: NonEmpty | None = None


class ImportQuery(Input):
    replace: Annotated[bool, Meta(description="Replace actors that are there.")] = False
    check: Annotated[bool, Meta(description="Write nothing; say what an import would say.")] = False


class MethodCall(Input):
    method: NonEmpty
    args: Annotated[list[Any], Meta(description="Wire values.")] = msgspec.field(default_factory=list)


class SentRequest(Input):
    method: Annotated[str, Meta(pattern="^[A-Z]{1,32}$")] = "GET"
    path: Annotated[str, Meta(pattern="^/[!-~]*$", description="Percent-encoded, with its query.")] = "/"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: Annotated[str, Meta(description="A text; with `base64` bytes in base64.")] = ""
    base64: bool = False


@blueprint.get("/actor-types")
async def list_types() -> ActorTypes:
    """List your actor types: those that have actors, and those that a function exports."""
    tenant, registry = caller().tenant, services().registry
    found = {one.type: one for one in await _actors().types(tenant)}
    serving = (version for one in registry.functions(tenant) for version in registry.serving(one))
    exported = {name for version in serving for name in version.actor_types}
    shown: list[ActorType] = []
    for name in sorted({*found, *exported}):
        owner, one = registry.owner(tenant, name), found.get(name)
        shown.append(
            {
                "type": name,
                "function": None if owner is None else owner.function_name,
                "actors": 0 if one is None else one.actors,
                "size": 0 if one is None else one.bytes_used,
                "more": one is not None and one.more,
            }
        )
    return {"types": shown}


@blueprint.get("/actors")
@takes()
async def list_actors(query: ActorsQuery) -> ActorPage:
    """List your actors, in order of type and name."""
    tenant = caller().tenant
    if query.prefix and query.type is None:
        raise UsageError('With "prefix" there has to be a "type".')
    after = ActorId(tenant, *_place(query.cursor, 2)) if query.cursor else None
    page, following = await _actors().listed(tenant, query.type, query.prefix, after, query.limit)
    ending = None if following is None else cursor_of((following.type, following.name))
    return {"actors": [actor_json(one) for one in page], "next": ending}


@blueprint.get("/actor")
@takes()
async def get_actor(query: ActorQuery) -> InspectedActor:
    """Show an actor."""
    found = await _actors().inspect(_actor(query))
    dead = found["dead_alarm"]
    return {
        **actor_json(found["summary"]),
        "dead_alarm": None
        if dead is None
        else {
            "due_at": moment(dead["due_ms"]),
            "failed_at": moment(dead["failed_ms"]),
            "error": dead["error"],
            "message": dead["message"],
        },
        "in_memory": found["in_memory"],
        "busy": found["busy"],
        "waiting": found["waiting"],
    }


@blueprint.delete("/actor")
@takes()
async def delete_actor(query: ActorQuery) -> NoContent:
    """Delete an actor with all it has stored, after the turn that runs."""
    await _actors().delete(_actor(query))
    return "", 204


# --- what it holds ----------------------------------------------------------------------------------------------------


@blueprint.get("/actor/keys")
@takes()
async def list_actor_keys(query: KeysQuery) -> StoredPage:
    """List the keys of an actor with their values, in order of their bytes."""
    actor = _actor(query)
    after = _place(query.cursor, 1)[0] if query.cursor else None
    page, following = await _actors().keys(actor, query.prefix, after, query.limit)
    ending = None if following is None else cursor_of((following,))
    return {"keys": [_pair(key, value) for key, value in page], "next": ending}


@blueprint.get("/actor/key")
@takes()
async def get_actor_key(query: KeyQuery) -> Stored:
    """Show a key of an actor."""
    return _pair(query.key, await _actors().get(_actor(query), query.key))


@blueprint.put("/actor/key")
@takes(WIRE_VALUE)
async def put_actor_key(query: KeyQuery) -> Stored:
    """Store a value in an actor that is there, as a turn of its own."""
    actor = _actor(query)
    value = _wire_value(await small_body(), "The body")
    await _actors().put(actor, query.key, value)
    return _pair(query.key, value)


@blueprint.delete("/actor/key")
@takes()
async def delete_actor_key(query: KeyQuery) -> NoContent:
    """Delete a key of an actor, as a turn of its own."""
    await _actors().delete_key(_actor(query), query.key)
    return "", 204


# --- calling it -------------------------------------------------------------------------------------------------------


@blueprint.post("/actor/invoke")
@takes()
async def invoke_actor(query: ActorQuery, body: MethodCall) -> Returned:
    """Call a method, once, whatever becomes of it; the actor need not have been there before."""
    sent = _wire_text(body.args, 'The field "args"').encode()
    call = turn.invoke(body.method.encode(), sent, CallContext(new_request_id()), _nobody)
    answer = await _actors().call(_actor(query), call)
    if not isinstance(answer, bytes):
        _raise(answer)
    return {"result": _shown(answer.decode())[1]}


@blueprint.post("/actor/fetch")
@takes()
async def fetch_actor(query: ActorQuery, body: SentRequest) -> Fetched:
    """Send a request to an actor's `fetch`."""
    sent = _request(body)
    answer = await _actors().call(_actor(query), turn.fetch(sent, CallContext(new_request_id()), _nobody))
    if not isinstance(answer, HttpResponse):
        _raise(answer)
    lines = answer.headers.decode(errors="replace").splitlines()
    pairs = [[name, value.removeprefix(" ")] for name, _, value in (line.partition(":") for line in lines) if name]
    data = body_from_wire(answer.body, answer.binary)
    text, binary = body_to_wire(data)
    return {"status": answer.status, "headers": pairs, "body": text.decode(), "base64": binary}


def _request(body: SentRequest) -> HttpRequest:
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in body.headers.items()):
        raise UsageError('The field "headers" has to be an object of texts, such as {"accept": "text/plain"}.')
    try:
        data = b64decode(body.body, validate=True) if body.base64 else body.body.encode()
    except ValueError:
        raise UsageError('The field "body" has to be base64, because "base64" is true.') from None
    if len(data) > LIMITS.body_bytes_max:
        raise UsageError(f"The body of a request has at most {LIMITS.body_bytes_max} bytes.")
    lines = "".join(f"{name.lower()}: {value}\n" for name, value in body.headers.items())
    sent, binary = body_to_wire(data)
    return HttpRequest(body.method, _ORIGIN + body.path, lines.encode(), sent, binary)


def _nobody(_answer: Answer) -> None:
    """The answer comes over the link to the worker."""


def _raise(answer: Answer) -> NoReturn:
    if isinstance(answer, ActorTypeNotFoundError):
        raise NotFound(f"{answer.detail[:1].upper()}{answer.detail[1:]}. `tenure actors types` lists those there are.")
    if isinstance(answer, ActorOverloadedError):
        raise Unavailable(f"Nothing was done: {answer.detail}.")
    if not isinstance(answer, ActorError):
        raise ActorFailed("ActorMethodError", "The actor answered in another way than it was asked.")
    cause = f"{answer.cause}: " if answer.cause not in ("", "Error", answer.name) else ""
    raise ActorFailed(answer.name, f"{cause}{answer.detail}" or "It gave no message.")


# --- exports and imports ----------------------------------------------------------------------------------------------


@blueprint.get("/actors/export")
@takes()
async def export_actors(query: ExportQuery) -> Lines:
    """Export one actor, or all of your tenant."""
    if query.type is None and query.name is None:
        return await _export(caller().tenant, None)
    if query.type is None or query.name is None:
        raise UsageError('Name one actor with "type" and "name", or give neither for all of them.')
    return await _export(caller().tenant, _actor(ActorQuery(type=query.type, name=query.name)))


@blueprint.post("/actors/import")
@takes(EXPORT)
async def import_actors(query: ImportQuery) -> Imported | Response:
    """Write the actors of an export: all of them, or none."""
    return await _import(caller().tenant, query)


@blueprint.get("/tenants/<tenant>/actors/export")
async def export_tenant(tenant: str) -> Lines:
    """Export all actors of a tenant."""
    return await _export(services().registry.accounts.tenant(tenant).id, None)


@blueprint.post("/tenants/<tenant>/actors/import")
@takes(EXPORT)
async def import_tenant(tenant: str, query: ImportQuery) -> Imported | Response:
    """Write the actors of an export into a tenant: all of them, or none."""
    return await _import(services().registry.accounts.tenant(tenant).id, query)


async def _export(tenant: str, actor: ActorId | None) -> Response:
    if actor is not None:
        await _actors().inspect(actor)
    response = Response(export_lines(_actors(), tenant, actor), content_type="application/x-ndjson")
    response.timeout = None  # it takes as long as there is to read
    return response


async def _import(tenant: str, query: ImportQuery) -> Imported | Response:
    actors = _actors()
    path = await receive_bundle()
    if (kept := await claim_upload(path)) is not None:
        return kept
    try:
        return {"imported": await import_file(actors, tenant, path, replace=query.replace, check=query.check)}
    finally:
        path.unlink(missing_ok=True)


# --- what stands in a request -----------------------------------------------------------------------------------------


def _actors() -> AllActors:
    actors = services().actors
    if actors is None:
        raise Unavailable("This host runs no actors.")
    return actors


def _actor(query: ActorQuery | KeysQuery) -> ActorId:
    """The caller's actor that the query names."""
    actor = ActorId(caller().tenant, query.type, query.name)
    if len(actor.name.encode()) > LIMITS.actor_name_bytes_max:
        raise UsageError(f"An actor's name has at most {LIMITS.actor_name_bytes_max} bytes.")
    return actor


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f'"{name}" has to be valid Unicode.') from None
    return value


def _place(cursor: str, parts: int) -> tuple[str, ...]:
    place: Place = read_cursor(cursor)
    if len(place) != parts or not all(isinstance(part, str) for part in place):
        raise wrong_cursor()
    try:
        return tuple(_text(str(part), "cursor") for part in place)
    except UsageError:
        raise wrong_cursor() from None


def _wire_value(text: bytes, what: str) -> str:
    try:
        value = wire.read(text)
    except ValueError as error:
        raise UsageError(f"{what} is not valid JSON: {error}.") from None
    return _wire_text(value, what)


def _wire_text(value: Any, what: str) -> str:
    try:
        wire.check(value)
    except ValueError as error:
        raise UsageError(f"{what} cannot be read by a guest: {error}.") from None
    return wire.write(value)


def _shown(text: str) -> tuple[str, Any]:
    """The field and the value under which a stored or returned text is shown."""
    try:
        return "value", wire.read(text)
    except ValueError:
        return "text", text


def _pair(key: str, value: str) -> Stored:
    field, shown = _shown(value)
    return {"key": key, "value": shown} if field == "value" else {"key": key, "text": shown}
