"""/v1/actors and /v1/actor: a tenant's actors, what they hold, and calling them.

An actor's name may be any text, so it stands in the query (`?type=&name=`), where every text can. Whoever asks has the
actors of the own tenant; only exports and imports are there for operators, too.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, NoReturn

from quart import Blueprint, request
from quart.wrappers import Response

from host.actors import turn
from host.actors.ports import Answer
from host.admin.auth import caller
from host.admin.idempotency import claim_upload
from host.admin.paging import Place, cursor_of, page_query, read_cursor, wrong_cursor
from host.admin.requests import flag_field, new_request_id, read_json, receive_bundle, small_body, text_field
from host.admin.services import services
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

_METHOD = re.compile(r"[A-Z]{1,32}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,16384}")
_PATH = re.compile(r"/[!-~]*")
_ORIGIN = "http://actor"
"""What a `Request` that comes from here has before its path."""


@blueprint.get("/actor-types")
async def list_types() -> dict[str, Any]:
    """Those that have actors, and those that a function exports."""
    tenant, registry = caller().tenant, services().registry
    found = {one.type: one for one in await _actors().types(tenant)}
    serving = (registry.version(one.id, one.serving) for one in registry.functions(tenant) if one.serving is not None)
    exported = {name for version in serving for name in version.actor_types}
    shown = []
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
async def list_actors() -> dict[str, Any]:
    tenant, actor_type = caller().tenant, request.args.get("type")
    beginning = _text(request.args.get("prefix", ""), "prefix")
    if beginning and actor_type is None:
        raise UsageError('With "prefix" there has to be a "type".')
    limit, cursor = page_query()
    after = ActorId(tenant, *_place(cursor, 2)) if cursor else None
    actor_type = None if actor_type is None else _text(actor_type, "type")
    page, following = await _actors().listed(tenant, actor_type, beginning, after, limit)
    ending = None if following is None else cursor_of((following.type, following.name))
    return {"actors": [actor_json(one) for one in page], "next": ending}


@blueprint.get("/actor")
async def get_actor() -> dict[str, Any]:
    found = await _actors().inspect(_actor())
    dead = found["dead_alarm"]
    return {
        **actor_json(found["summary"]),
        "dead_alarm": dead
        and {
            "due_at": moment(dead["due_ms"]),
            "failed_at": moment(dead["failed_ms"]),
            "error": dead["error"],
            "message": dead["message"],
        },
        **{name: found[name] for name in ("in_memory", "busy", "waiting")},
    }


@blueprint.delete("/actor")
async def delete_actor() -> tuple[str, int]:
    await _actors().delete(_actor())
    return "", 204


# --- what it holds ----------------------------------------------------------------------------------------------------


@blueprint.get("/actor/keys")
async def list_keys() -> dict[str, Any]:
    actor, beginning = _actor(), _text(request.args.get("prefix", ""), "prefix")
    limit, cursor = page_query()
    after = _place(cursor, 1)[0] if cursor else None
    page, following = await _actors().keys(actor, beginning, after, limit)
    ending = None if following is None else cursor_of((following,))
    return {"keys": [_pair(key, value) for key, value in page], "next": ending}


@blueprint.get("/actor/key")
async def get_key() -> dict[str, Any]:
    actor, key = _actor(), _argument("key")
    return _pair(key, await _actors().get(actor, key))


@blueprint.put("/actor/key")
async def put_key() -> dict[str, Any]:
    """The body is the value, a wire value."""
    actor, key = _actor(), _argument("key")
    value = _wire_value(await small_body(), "The body")
    await _actors().put(actor, key, value)
    return _pair(key, value)


@blueprint.delete("/actor/key")
async def delete_key() -> tuple[str, int]:
    await _actors().delete_key(_actor(), _argument("key"))
    return "", 204


# --- calling it -------------------------------------------------------------------------------------------------------


@blueprint.post("/actor/invoke")
async def invoke() -> dict[str, Any]:
    """Made once, whatever becomes of it; what is called need not have been there before."""
    actor = _actor()
    body = await read_json(("method", "args"))
    method, arguments = text_field(body, "method"), body.get("args", [])
    if not isinstance(arguments, list):
        raise UsageError('The field "args" has to be an array.')
    sent = _wire_text(arguments, 'The field "args"').encode()
    call = turn.invoke(_text(method, "method").encode(), sent, CallContext(new_request_id()), _nobody)
    answer = await _actors().call(actor, call)
    if not isinstance(answer, bytes):
        _raise(answer)
    return {"result": _shown(answer.decode())[1]}


@blueprint.post("/actor/fetch")
async def fetch() -> dict[str, Any]:
    actor = _actor()
    body = await read_json(("method", "path", "headers", "body", "base64"))
    sent = _request(body)
    answer = await _actors().call(actor, turn.fetch(sent, CallContext(new_request_id()), _nobody))
    if not isinstance(answer, HttpResponse):
        _raise(answer)
    lines = answer.headers.decode(errors="replace").splitlines()
    pairs = [[name, value.removeprefix(" ")] for name, _, value in (line.partition(":") for line in lines) if name]
    data = body_from_wire(answer.body, answer.binary)
    text, binary = body_to_wire(data)
    return {"status": answer.status, "headers": pairs, "body": text.decode(), "base64": binary}


def _request(body: dict[str, Any]) -> HttpRequest:
    method, path, headers, text = (
        body.get("method", "GET"),
        body.get("path", "/"),
        body.get("headers", {}),
        body.get("body", ""),
    )
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise UsageError('The field "method" has to be a method of HTTP, such as POST.')
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise UsageError('The field "path" has to begin with "/" and to be percent-encoded, such as "/notes?page=2".')
    if not isinstance(headers, dict) or not all(
        _HEADER_NAME.fullmatch(name) and isinstance(value, str) and _HEADER_VALUE.fullmatch(value)
        for name, value in headers.items()
    ):
        raise UsageError('The field "headers" has to be an object of texts, such as {"accept": "text/plain"}.')
    if not isinstance(text, str):
        raise UsageError('The field "body" has to be a string.')
    try:
        data = b64decode(text, validate=True) if flag_field(body, "base64") else text.encode()
    except ValueError:
        raise UsageError('The field "body" has to be base64, because "base64" is true.') from None
    if len(data) > LIMITS.body_bytes_max:
        raise UsageError(f"The body of a request has at most {LIMITS.body_bytes_max} bytes.")
    lines = "".join(f"{name.lower()}: {value}\n" for name, value in headers.items())
    sent, binary = body_to_wire(data)
    return HttpRequest(method, _ORIGIN + path, lines.encode(), sent, binary)


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
async def export_actors() -> Response:
    """One actor, or all of the caller's tenant."""
    named = {"type", "name"} & set(request.args)
    return await _export(caller().tenant, _actor() if named else None)


@blueprint.post("/actors/import")
async def import_actors() -> dict[str, Any] | Response:
    return await _import(caller().tenant)


@blueprint.get("/tenants/<tenant>/actors/export")
async def export_tenant(tenant: str) -> Response:
    return await _export(services().registry.accounts.tenant(tenant).id, None)


@blueprint.post("/tenants/<tenant>/actors/import")
async def import_tenant(tenant: str) -> dict[str, Any] | Response:
    return await _import(services().registry.accounts.tenant(tenant).id)


async def _export(tenant: str, actor: ActorId | None) -> Response:
    if actor is not None:
        await _actors().inspect(actor)
    response = Response(export_lines(_actors(), tenant, actor), content_type="application/x-ndjson")
    response.timeout = None  # it takes as long as there is to read
    return response


async def _import(tenant: str) -> dict[str, Any] | Response:
    replace, check = (_flag(name) for name in ("replace", "check"))
    actors = _actors()
    path = await receive_bundle()
    if (kept := await claim_upload(path)) is not None:
        return kept
    try:
        return {"imported": await import_file(actors, tenant, path, replace=replace, check=check)}
    finally:
        path.unlink(missing_ok=True)


# --- what stands in a request -----------------------------------------------------------------------------------------


def _actors() -> AllActors:
    actors = services().actors
    if actors is None:
        raise Unavailable("This host runs no actors.")
    return actors


def _actor() -> ActorId:
    """The caller's actor that the query names."""
    actor = ActorId(caller().tenant, _argument("type"), _argument("name"))
    if len(actor.name.encode()) > LIMITS.actor_name_bytes_max:
        raise UsageError(f"An actor's name has at most {LIMITS.actor_name_bytes_max} bytes.")
    return actor


def _argument(name: str) -> str:
    value = request.args.get(name, "")
    if not value:
        raise UsageError(f'The query has to have "{name}", as in ?type=Account&name=alice.')
    return _text(value, name)


def _flag(name: str) -> bool:
    value = request.args.get(name, "false")
    if value not in ("true", "false"):
        raise UsageError(f'"{name}" has to be true or false.')
    return value == "true"


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


def _pair(key: str, value: str) -> dict[str, Any]:
    field, shown = _shown(value)
    return {"key": key, field: shown}
