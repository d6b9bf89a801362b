"""/v1/openapi.json: the admin API as an OpenAPI 3.1 document, made from the routes themselves.

Paths come from the application's routes, what they take and reply from their signatures (`contract`), scopes from
`access`, codes of errors from `model.errors`. Nothing is written down a second time, so there is nothing to keep in
step; what cannot be derived (a route without a docstring, an id that nobody described) raises, which a test sees. The
document says nothing of a running host but its version, and still is for those only who have a key.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from quart import Blueprint, Quart, current_app
from quart.wrappers import Response
from werkzeug.routing import Rule

from host.admin.access import NEEDS, methods_of
from host.admin.contract import Media, Taken, taken_by
from host.admin.idempotency import HEADER, REPLAYED
from host.admin.paging import Paging
from host.model.errors import GuestError, TenureError

blueprint = Blueprint("openapi", __name__)

KEY = "apiKey"
IDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ref": ("string", "A function, by its id or its name."),
        "number": ("integer", "A version's number."),
        "name": ("string", "A secret's name."),
        "key_id": ("string", "An API key's id, which is not the key."),
        "tenant": ("string", "A tenant's id."),
        "backup_id": ("string", "A backup's id."),
    }
)
"""What stands in paths: its type, and what it is."""

_ANY = frozenset({400, 401, 403, 429, 500, 503})
"""Statuses of errors that every route may answer with, if there is such an error at all."""
_OF_WRITES = frozenset({404, 408, 409, 413, 422, 507})
_REF = "#/components/schemas/{name}"
_INTRODUCTION = (
    "On it you create functions, ship bundles and look at what became of them. Every request carries an API key of "
    "one tenant and sees that tenant only: what belongs to another one answers 404, as if it were not there."
)
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "tnr_...",
    "description": (
        "An API key. What a route needs of it is named there: the scope `read`, `deploy` or `admin`, each of which "
        "includes those before it, and `operator` if it has to be an operator's key, too."
    ),
}


@blueprint.get("/openapi.json")
async def get_openapi() -> Annotated[Response, Media("application/json", "An OpenAPI 3.1 document.")]:
    """Show this document."""
    app = cast(Quart, current_app._get_current_object())  # type: ignore[attr-defined]
    return Response(msgspec.json.encode(document(app)), content_type="application/json")


@lru_cache(maxsize=1)
def document(app: Quart) -> dict[str, Any]:
    """The document of all routes of `app`, as JSON has it. Raises RuntimeError for a route that says too little."""
    operations = [_Operation.of(app, rule, method) for rule in app.url_map.iter_rules() for method in methods_of(rule)]
    shapes = sorted({shape for one in operations for shape in one.shapes()}, key=lambda shape: shape.__name__)
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in sorted(operations, key=lambda one: (one.path, one.method)):
        paths.setdefault(one.path, {})[one.method.lower()] = one.described()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tenure admin API",
            "version": importlib.metadata.version("tenure"),
            "description": _INTRODUCTION,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**_closed(schemas, operations), **dict(_error_schemas())},
            "responses": dict(_error_responses()),
            "headers": _HEADERS,
            "securitySchemes": {KEY: _KEY},
        },
    }


class _Operation(NamedTuple):
    """One route. `replies`: by status, a TypedDict, a `Media`, or None where there is no body."""

    rule: str
    path: str
    method: str
    name: str
    group: str
    summary: str
    description: str
    ids: list[str]
    taken: Taken
    replies: dict[int, list[Any]]

    @classmethod
    def of(cls, app: Quart, rule: Rule, method: str) -> _Operation:
        view = app.view_functions[rule.endpoint]
        ids = re.findall(r"<(?:\w+:)?(\w+)>", rule.rule)
        where = f"the route {method} {rule.rule}"
        if unknown := [one for one in ids if one not in IDS]:
            raise RuntimeError(f"host/admin/openapi.py does not say what {unknown[0]!r} is, in {where}")
        if not (text := " ".join((view.__doc__ or "").split())):
            raise RuntimeError(f"{where} has no docstring")
        summary, _, description = text.partition(". ")
        group, _, name = rule.endpoint.partition(".")
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        replies = _replies(view, where)
        return cls(rule.rule, path, method, name, group, summary.rstrip("."), description, ids, taken_by(view), replies)

    def shapes(self) -> Iterator[type]:
        yield from (one for kinds in self.replies.values() for one in kinds if isinstance(one, type))
        if self.taken.body is not None:
            yield self.taken.body

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def described(self) -> dict[str, Any]:
        need = NEEDS[f"{self.method} {self.rule}"]
        roles = [need.scope, *(["operator"] if need.operator else [])]
        shown: dict[str, Any] = {
            "operationId": self.name,
            "tags": [self.group],
            "summary": self.summary,
            "description": f"{self.description} Needs a key with the scope `{need.scope}`".strip()
            + (", of an operator." if need.operator else "."),
            "security": [{KEY: roles}],
            "parameters": self._parameters(),
            "responses": {**self._replied(), **self._refused()},
        }
        if self.taken.body is not None:
            shown["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": _REF.format(name=self.taken.body.__name__)}}},
            }
        elif self.taken.media is not None:
            media = self.taken.media
            shown["requestBody"] = {
                "description": media.description,
                "required": True,
                "content": {media.content_type: _media_schema(media)},
            }
        return shown

    def _parameters(self) -> list[dict[str, Any]]:
        found = []
        for one in self.ids:
            kind, text = IDS[one]
            schema = {"type": kind, **({"minLength": 1} if kind == "string" else {"minimum": 0})}
            found.append({"name": one, "in": "path", "required": True, "description": text, "schema": schema})
        if self.taken.query is not None:
            found += _query_parameters(self.taken.query)
        if self.writes:
            found.append(_IDEMPOTENCY_KEY)
        return found

    def _replied(self) -> dict[str, Any]:
        headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
        if self.writes:
            headers[REPLAYED] = {"$ref": "#/components/headers/IdempotencyReplayed"}
        found = {}
        for status, kinds in self.replies.items():
            content = {}
            for one in kinds:
                if isinstance(one, Media):
                    content[one.content_type] = _media_schema(one)
                else:
                    content["application/json"] = {"schema": {"$ref": _REF.format(name=one.__name__)}}
            found[str(status)] = {
                "description": HTTPStatus(status).phrase,
                "headers": headers,
                **({"content": content} if content else {}),
            }
        return found

    def _refused(self) -> dict[str, Any]:
        statuses = _ANY | (_OF_WRITES if self.writes else set())
        if self.ids or self.taken.query not in (None, Paging):
            statuses |= {404}
        return {str(one): {"$ref": f"#/components/responses/{_named(one)}"} for one in ERRORS if one in statuses}


def _replies(view: Callable[..., Any], where: str) -> dict[int, list[Any]]:
    """From the annotation of what a route returns. A bare `Response` in it is one that was kept before."""
    hint = get_type_hints(view, include_extras=True).get("return")
    replies: dict[int, list[Any]] = {}
    for one in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        status = 200
        if get_origin(one) is tuple:
            one, wrapped = get_args(one)
            (status,) = get_args(wrapped)
        kinds = replies.setdefault(status, [])
        media = [extra for extra in getattr(one, "__metadata__", ()) if isinstance(extra, Media)]
        if is_typeddict(one) or media:
            kinds.append(media[0] if media else one)
        elif one is not Response and one != Literal[""]:
            raise RuntimeError(
                f"{where} returns {one}: a TypedDict, `NoContent` or Annotated[Response, Media(...)] is known"
            )
    return {status: kinds for status, kinds in replies.items() if kinds or status == 204}


def _query_parameters(shape: type[msgspec.Struct]) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components([shape], ref_template=_REF)
    schema = components[shape.__name__]
    found = []
    for name, one in schema["properties"].items():
        text = one.pop("description", "")
        given = [kind for kind in one.pop("anyOf", []) if kind != {"type": "null"}]
        one = {**(given[0] if given else {}), **one}
        if one.get("default", ...) is None:
            del one["default"]  # what is left out cannot be said in a query
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": one}
        found.append({**parameter, **({"description": text} if text else {})})
    return found


def _media_schema(media: Media) -> dict[str, Any]:
    if media.content_type == "application/json":
        return {}
    return {"schema": {"type": "string", **({"format": "binary"} if media.content_type == "application/zip" else {})}}


def _closed(schemas: Mapping[str, Any], operations: list[_Operation]) -> dict[str, Any]:
    """Bodies take no other fields than theirs. Replies may get more with a later release."""
    bodies = {one.taken.body.__name__ for one in operations if one.taken.body is not None}
    return {
        name: {**schema, "additionalProperties": False} if name in bodies else schema
        for name, schema in sorted(schemas.items())
    }


# --- errors -----------------------------------------------------------------------------------------------------------


def _kinds(kind: type[TenureError]) -> Iterator[type[TenureError]]:
    """Those that the admin API answers with: an error of a guest is wrapped in one of these."""
    if issubclass(kind, GuestError):
        return
    if kind.__module__ == TenureError.__module__:
        yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _codes() -> dict[int, list[str]]:
    found: dict[int, set[str]] = {}
    for kind in _kinds(TenureError):
        found.setdefault(kind.http_status, set()).add(kind.code)
    return {status: sorted(codes) for status, codes in sorted(found.items())}


ERRORS: Mapping[int, list[str]] = MappingProxyType(_codes())
"""The codes of errors by the status that they come with."""


def _named(status: int) -> str:
    return "".join(word.capitalize() for word in re.findall(r"\w+", HTTPStatus(status).phrase))


def _error_schemas() -> Iterator[tuple[str, Any]]:
    """The one shape of errors, in general and for each status, with its codes."""
    codes = sorted({code for known in ERRORS.values() for code in known})
    yield "ErrorCode", {"type": "string", "enum": codes, "description": "docs/errors.md says what each means."}
    text = {"type": "string", "minLength": 1}
    yield (
        "Error",
        {
            "type": "object",
            "description": "One mistake. `code` is for programs; `detail` says to people what is wrong and what to do.",
            "properties": {"code": {"$ref": _REF.format(name="ErrorCode")}, "title": text, "detail": text},
            "required": ["code", "title", "detail"],
        },
    )
    for status, known in ERRORS.items():
        code = {"type": "object", "properties": {"code": {"enum": known}}}
        entry = {"allOf": [{"$ref": _REF.format(name="Error")}, code]}
        yield (
            f"{_named(status)}Errors",
            {
                "type": "object",
                "properties": {"errors": {"type": "array", "minItems": 1, "items": entry}},
                "required": ["errors"],
            },
        )


def _error_responses() -> Iterator[tuple[str, Any]]:
    for status in ERRORS:
        headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
        if status in (429, 503):
            headers["retry-after"] = {"$ref": "#/components/headers/RetryAfter"}
        content = {"application/json": {"schema": {"$ref": _REF.format(name=f"{_named(status)}Errors")}}}
        yield _named(status), {"description": HTTPStatus(status).phrase, "headers": headers, "content": content}


_HEADERS = {
    "RequestId": {"description": "In the host's log, too.", "required": True, "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "IdempotencyReplayed": {
        "description": "The request was carried out before; this is its reply.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "For a day the same request with the same key is answered with the first one's reply.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
