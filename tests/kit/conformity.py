"""Holds replies of the admin API against its OpenAPI document: status, content type, headers, and the body's fields.

Shapes are taken as closed: a field that a reply has and the document does not is a mistake here, although clients are
asked to bear with new ones. The clients in `tests/unit/admin_kit` and `tests/kit/admin` hold every reply against it.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import jsonschema_rs

from host.admin.app import create_admin_app
from host.admin.openapi import document
from host.admin.services import AdminServices

OPEN = {"HostStatus"}
"""Shapes that may have more fields than the document names, and say so."""


@cache
def admin_document() -> dict[str, Any]:
    """The document of the admin API, made without a host."""
    limits = SimpleNamespace(compressed_bytes_max=1)
    return document(create_admin_app(cast(AdminServices, SimpleNamespace(publisher=SimpleNamespace(limits=limits)))))


def check_reply(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
    """Raises AssertionError, saying why, for a reply that is not in the document. A body of None is not looked at."""
    operation = _operation(method, path)
    if operation is None:
        return
    where = f"{method} {path} answered {status}"
    replies = operation["responses"]
    assert str(status) in replies, f"{where}: the document has {', '.join(replies)}"
    reply = _resolved(replies[str(status)])
    for name, header in reply.get("headers", {}).items():
        if name not in headers:
            assert not _resolved(header).get("required"), f"{where} without {name}"
    content = reply.get("content", {})
    kind = headers.get("content-type", "").partition(";")[0]
    assert (kind in content) if content else not body, f"{where} with {kind or 'no content type'}"
    if body is not None and kind == "application/json" and (schema := content[kind].get("schema")):
        errors = _validator(schema["$ref"]).iter_errors(json.loads(body))
        assert not (found := [f"{error.instance_path}: {error.message}" for error in errors]), f"{where}: {found}"


def _operation(method: str, path: str) -> dict[str, Any] | None:
    """None for a path that is no route, whose 404 and 405 the document does not list."""
    for pattern, methods in _paths():
        if pattern.fullmatch(path.partition("?")[0]):
            return cast("dict[str, Any] | None", methods.get(method.lower()))
    return None


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Those with the fewest ids first."""
    paths = sorted(admin_document()["paths"].items(), key=lambda item: item[0].count("{"))
    return [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), methods) for path, methods in paths]


def _resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in value:
        _, _, group, name = value["$ref"].split("/")
        return cast("dict[str, Any]", admin_document()["components"][group][name])
    return value


@cache
def _validator(reference: str) -> Any:
    schemas = copy.deepcopy(admin_document()["components"]["schemas"])
    for name, schema in schemas.items():
        if "properties" in schema and name not in OPEN:
            schema["additionalProperties"] = False
    return jsonschema_rs.Draft202012Validator({"$ref": reference, "components": {"schemas": schemas}})
