"""HTTP through the whole host, with a guest that echoes: what a client sends is what a function sees, and back."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
import pytest_asyncio

from host import server
from host.model.limits import LIMITS, MiB
from tests.conftest import GUESTS, SESSION, Ship
from tests.kit.http import Site
from tests.kit.logs import lines_of

pytestmark = SESSION

BODY_MAX = LIMITS.body_bytes_max


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def echo(shared: Ship) -> Site:
    return await shared(GUESTS / "echo")


def _error(reply: httpx.Response) -> dict[str, str]:
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    (error,) = reply.json()["errors"]
    assert set(error) == {"code", "title", "detail"}
    return dict(error)


async def test_the_guest_sees_method_url_headers_and_body_as_sent(echo: Site) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        headers = [("x-mine", "1"), ("x-mine", "2"), ("x-name", "caf\xe9"), ("x-request-id", "abc-1")]
        reply = await echo.ask(method, "/request?q=%26&r=%C3%A9", content="grüße", headers=headers)
        seen = reply.json()
        assert (seen["method"], seen["url"]) == (method, f"http://{echo.host}/request?q=%26&r=%C3%A9")
        assert seen["body"] == "grüße"
        guest_headers = dict(seen["headers"])
        assert guest_headers["x-mine"] == "1, 2"
        assert guest_headers["x-name"] == "café"
        assert guest_headers["x-request-id"] == reply.headers["x-request-id"] == "abc-1"
        assert "connection" not in guest_headers


async def test_duplicated_cookies_arrive_apart_and_in_order(echo: Site) -> None:
    reply = await echo.get("/cookies")
    assert reply.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2", "a=3"]
    assert reply.headers["x-one"] == "1"


async def test_binary_bodies_cross_both_ways(echo: Site) -> None:
    every_byte = bytes(range(256))
    for data in (b"", b"\0", every_byte, every_byte[::-1] * 1000, b"\xff\xfe", "text".encode("utf-16")):
        reply = await echo.post("/bytes", content=data)
        assert reply.content == data
        assert reply.headers["content-length"] == str(len(data))


@pytest.mark.parametrize("size", [1 * MiB, BODY_MAX])
async def test_large_bodies_cross_both_ways(echo: Site, size: int) -> None:
    text = b"0123456789abcdef" * (size // 16)
    binary = bytes(range(256)) * (size // 256)
    assert (await echo.post("/text", content=text)).content == text
    assert (await echo.post("/bytes", content=binary)).content == binary


async def test_a_body_over_the_limit_is_413_and_the_function_serves_on(echo: Site) -> None:
    reply = await echo.post("/text", content=b"x" * (BODY_MAX + 1))
    assert (reply.status_code, _error(reply)["code"]) == (413, "too_large")

    async def pieces() -> object:
        for _ in range(BODY_MAX // MiB + 1):
            yield b"x" * MiB

    reply = await echo.post("/text", content=pieces())
    assert (reply.status_code, _error(reply)["code"]) == (413, "too_large")
    assert (await echo.post("/text", content=b"next")).text == "next"


async def test_a_reply_over_the_limit_is_502(echo: Site) -> None:
    assert len((await echo.get(f"/letters?size={BODY_MAX}")).content) == BODY_MAX
    reply = await echo.get(f"/letters?size={BODY_MAX + 1}")
    assert (reply.status_code, _error(reply)["code"]) == (502, "bad_function_reply")


async def test_head_has_the_length_of_get_and_no_body(echo: Site) -> None:
    reply = await echo.ask("HEAD", "/letters?size=1234")
    assert (reply.status_code, reply.headers["content-length"], reply.content) == (200, "1234", b"")
    assert len((await echo.get("/letters?size=1234")).content) == 1234


@pytest.mark.parametrize("code", [201, 204, 304, 400, 404, 418, 503])
async def test_a_status_the_function_chose_arrives(echo: Site, code: int) -> None:
    reply = await echo.get(f"/status?code={code}")
    assert (reply.status_code, reply.content) == (code, b"")
    assert ("content-length" in reply.headers) == (code not in (204, 304))


async def test_a_redirect_arrives_as_one(echo: Site) -> None:
    reply = await echo.get("/redirect")
    assert (reply.status_code, reply.headers["location"]) == (307, f"http://{echo.host}/text")


async def test_a_function_cannot_frame_its_reply_or_forge_its_request_id(echo: Site) -> None:
    reply = await echo.get("/framing")
    assert (reply.text, reply.headers["content-length"]) == ("true", "4")
    assert reply.headers["x-request-id"] != "forged"
    assert "connection" not in reply.headers


@pytest.mark.parametrize("path", ["/throw", "/reject", "/throw-string"])
async def test_a_throw_is_500_with_a_request_id_and_without_its_message(echo: Site, path: str) -> None:
    reply = await echo.get(path)
    assert (reply.status_code, _error(reply)["code"]) == (500, "function_error")
    assert "secret" not in reply.text
    assert "src/" not in reply.text
    assert (await echo.get("/status?code=201")).status_code == 201


async def test_what_was_thrown_is_in_the_functions_log_under_the_request_id(
    echo: Site, shared_host: server.Host
) -> None:
    version = shared_host.control.registry.route(echo.host.split(".")[0])
    assert version is not None
    await echo.get("/throw", headers={"x-request-id": "find-me"})
    lines = [line for line in await lines_of(shared_host, version.function_id) if line["request_id"] == "find-me"]
    assert [(line["type"], line["level"]) for line in lines] == [("error", "error"), ("invocation", "error")]
    assert "TypeError: secret 42" in lines[0]["text"]
    assert (lines[1]["method"], lines[1]["path"], lines[1]["outcome"]) == ("GET", "/throw", "failed")


@pytest.mark.parametrize("path", ["/not-a-response", "/nothing"])
async def test_a_handler_that_returns_no_response_is_500(echo: Site, path: str) -> None:
    reply = await echo.get(path)
    assert (reply.status_code, _error(reply)["code"]) == (500, "function_error")


async def test_a_promise_that_never_settles_is_said_at_once(echo: Site) -> None:
    began = time.monotonic()
    reply = await echo.get("/never")
    assert (reply.status_code, _error(reply)["code"]) == (500, "function_error")
    assert "never" in _error(reply)["detail"]
    assert time.monotonic() - began < 5


async def test_timers_of_many_requests_run_at_the_same_time(echo: Site) -> None:
    await echo.get("/slow?ms=1")
    began = time.monotonic()
    replies = await asyncio.gather(*(echo.get("/slow?ms=300") for _ in range(20)))
    assert [reply.text for reply in replies] == ["slow"] * 20
    assert time.monotonic() - began < 3


async def test_an_unknown_host_is_404_json(echo: Site) -> None:
    for name in ("nobody-0000000000.localhost", "localhost", f"x.{echo.host}", "example.com"):
        reply = await echo.get("/request", headers={"host": name})
        assert (reply.status_code, _error(reply)["code"]) == (404, "not_found")
    assert (await echo.get("/letters?size=1", headers={"host": echo.host.upper()})).text == "x"
