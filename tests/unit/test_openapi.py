"""The OpenAPI document has every route and says what `access` says. That replies fit it is held in `kit.conformity`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from quart import Blueprint, Quart

from host.admin.access import NEEDS
from host.admin.contract import Media, NoContent, takes
from host.admin.openapi import ERRORS, document
from host.admin.paging import Paging
from host.registry.records import DEFAULT_TENANT
from tests.kit.conformity import admin_document, check_reply
from tests.unit.admin_kit import Api, api_of
from tests.unit.registry_kit import Host

DOCUMENT = admin_document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

SCHEMAS = {f"#/components/schemas/{name}": schema for name, schema in DOCUMENT["components"]["schemas"].items()}


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Api]:
    host = await Host(tmp_path).start()
    yield await api_of(host, await host.registry.create_key(DEFAULT_TENANT, "op", "operator"))
    await host.stop()


def app_with(view: Any) -> Quart:
    app, blueprint = Quart("other", static_folder=None), Blueprint("noun", __name__)
    blueprint.get("/v1/tenants")(view)
    app.register_blueprint(blueprint)
    return app


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key == "$ref")
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_route_is_in_the_document_with_the_scope_that_it_needs() -> None:
    roles = {
        re.sub(r"<(?:int:)?(\w+)>", r"{\1}", route): [need.scope, *(["operator"] if need.operator else [])]
        for route, need in NEEDS.items()
    }
    assert {name: one["security"] for name, one in OPERATIONS.items()} == {
        name: [{"apiKey": needed}] for name, needed in roles.items()
    }


def test_every_reference_leads_somewhere_and_nothing_is_there_for_nobody() -> None:
    found = set(references(DOCUMENT))
    there = {
        f"#/components/{group}/{name}"
        for group in ("schemas", "responses", "headers")
        for name in DOCUMENT["components"][group]
    }
    assert found <= there
    assert there - found == {"#/components/responses/MethodNotAllowed"}


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_names_of_operations_are_unique() -> None:
    assert len({one["operationId"] for one in OPERATIONS.values()}) == len(OPERATIONS)


def test_every_list_is_asked_for_in_pages_and_every_write_may_be_done_once() -> None:
    for name, one in OPERATIONS.items():
        parameters = {parameter["name"] for parameter in one["parameters"]}
        replies = set(references(one["responses"].get("200", {}))) & set(SCHEMAS)
        pages = [reply for reply in replies if "next" in SCHEMAS[reply].get("properties", {})]
        assert ({"limit", "cursor"} <= parameters) == bool(pages), name
        assert ("Idempotency-Key" in parameters) == (not name.startswith("GET ")), name


def test_the_codes_of_errors_are_those_of_the_status_they_come_with() -> None:
    assert ERRORS[422] == [
        "actor_failed",
        "idempotency_key_reused",
        "invalid_bundle",
        "invalid_manifest",
        "quota_reached",
    ]
    entry = DOCUMENT["components"]["schemas"]["NotFoundErrors"]["properties"]["errors"]["items"]
    assert entry["allOf"][1]["properties"]["code"] == {"enum": ["not_found"]}


async def test_the_host_shows_the_document_to_those_who_have_a_key(operator: Api) -> None:
    assert await operator.json("GET", "/openapi.json") == DOCUMENT
    (error,) = await operator.with_key("").refused("GET", "/openapi.json", 401)
    assert error["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", '"limit" has to be a whole number from 1 to 500.'),
        ("limit=many", '"limit" has to be a whole number from 1 to 500.'),
        ("limit=007", '"limit" has to be a whole number from 1 to 500.'),
        ("state=late", '"state" has to be one of: dead, waiting.'),
        ("cursor=x", 'The "cursor" is not one that this route gave as "next".'),
    ],
)
async def test_a_query_that_does_not_fit_is_told_what_would(operator: Api, query: str, words: str) -> None:
    (error,) = await operator.refused("GET", f"/alarms?{query}", 400)
    assert error["detail"] == words


@pytest.mark.parametrize("since", ["null", "0", "now", "2027-01-31T00:00:00"])
async def test_a_time_in_a_query_is_one_with_an_offset(operator: Api, since: str) -> None:
    (error,) = await operator.refused("GET", f"/functions/f/logs?since={since}", 400)
    assert error["detail"].startswith('"since" has to be a time')


@pytest.mark.parametrize("flag", ["1", "True", "yes", ""])
async def test_a_flag_in_a_query_is_true_or_false(operator: Api, flag: str) -> None:
    (error,) = await operator.refused("GET", f"/functions/f/logs?follow={flag}", 400)
    assert error["detail"] == '"follow" has to be true or false.'


def test_a_route_that_says_too_little_is_named() -> None:
    async def silent() -> NoContent:
        return "", 204

    async def untyped() -> dict[str, Any]:
        """Show something."""
        return {}

    for view, words in ((silent, "GET /v1/tenants has no docstring"), (untyped, "returns dict")):
        with pytest.raises(RuntimeError, match=words):
            document(app_with(view))


def test_what_a_route_takes_is_read_from_its_signature() -> None:
    @takes(Media("application/zip", "A zip."))
    async def view(query: Paging) -> NoContent:
        """Do something. It is done at once."""
        return "", 204

    shown = document(app_with(view))["paths"]["/v1/tenants"]["get"]
    assert [one["name"] for one in shown["parameters"]] == ["limit", "cursor"]
    assert shown["requestBody"]["content"] == {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
    assert (shown["summary"], shown["description"].split(". ")[0]) == ("Do something", "It is done at once")
    assert next(iter(shown["responses"])) == "204"


@pytest.mark.parametrize(
    ("status", "kind", "body", "words"),
    [
        (200, "application/json", b'{"tenant": "a", "name": "b", "role": "tenant"}', '"scope" is a required property'),
        (
            200,
            "application/json",
            b'{"tenant":"a","name":"b","role":"tenant","scope":"read","x":1}',
            "'x' was unexpected",
        ),
        (200, "text/html", b"", "with text/html"),
        (201, "application/json", b"{}", "answered 201"),
        (401, "application/json", b'{"errors": [{"code": "forbidden", "title": "a", "detail": "b"}]}', "unauthorized"),
    ],
)
def test_a_reply_that_the_document_does_not_have_is_seen(status: int, kind: str, body: bytes, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_reply("GET", "/v1/whoami", status, {"content-type": kind, "x-request-id": "1"}, body)
