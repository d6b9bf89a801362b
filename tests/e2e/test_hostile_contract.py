"""A guest without the SDK (tests/guests/raw/forger.js) that breaks the contract of replies and of operations."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conftest import SESSION
from tests.kit.http import Site

pytestmark = SESSION


def code_of(reply: httpx.Response) -> str:
    (error,) = reply.json()["errors"]
    return str(error["code"])


@pytest.mark.parametrize(
    "path",
    [
        *("/crlf", "/lf-value", "/nul", "/no-newline", "/name", "/status-0", "/status-101", "/status-999", "/base64"),
        *("/giant-head", "/many-heads", "/giant-body"),
    ],
)
async def test_a_reply_that_cannot_be_sent_is_a_502_and_nothing_of_it_is_sent(forger: Site, path: str) -> None:
    reply = await forger.get(path)
    assert (reply.status_code, code_of(reply)) == (502, "bad_function_reply")
    assert "set-cookie" not in reply.headers
    assert "x-a" not in reply.headers
    assert (await forger.get("/hello")).text == "hello"


async def test_a_guest_neither_frames_its_reply_nor_speaks_for_the_connection(forger: Site) -> None:
    reply = await forger.get("/hop")
    assert (reply.status_code, reply.text, reply.headers["x-a"]) == (200, "ok", "kept")
    assert not {"connection", "transfer-encoding", "upgrade", "keep-alive"} & set(reply.headers)
    reply = await forger.get("/length")
    assert reply.text == "short"
    assert reply.headers.get_list("content-length") == ["5"]
    assert len(reply.headers.get_list("x-request-id")) == 1
    assert reply.headers["x-request-id"] != "forged"
    assert "never" not in reply.headers.get_list("date")
    assert (await forger.get("/hello")).text == "hello"


@pytest.mark.parametrize("path", ["/twice", "/storage"])
async def test_an_import_that_is_not_the_callers_to_use_stops_the_guest(forger: Site, path: str) -> None:
    reply = await forger.get(path)
    assert (reply.status_code, code_of(reply)) == (503, "function_crashed")
    assert (await forger.get("/hello")).text == "hello"


async def test_an_outcome_of_another_kind_is_a_failure(forger: Site) -> None:
    assert (await forger.get("/return")).status_code == 500


async def test_numbers_of_operations_that_are_not_ones_own_change_nothing(forger: Site) -> None:
    assert (await forger.get("/cancels")).text == "ok"
    assert (await forger.get("/forged")).json() == [""]


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("/unbound", ["ActorTypeNotFoundError"] * 2),
        ("/nameless", ["TypeError"] * 2),
        ("/bad-arguments", ["ActorTypeNotFoundError"] * 6),
    ],
)
async def test_calls_that_no_manifest_grants_are_rejected_by_name(forger: Site, path: str, errors: list[str]) -> None:
    assert json.loads((await forger.get(path)).text) == errors
