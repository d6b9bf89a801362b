"""What crosses between HTTP and a guest: nothing a client or a guest writes may add a line, a length or a hop."""

from __future__ import annotations

import base64

import pytest

from host.gateway.hostname import HostNames
from host.gateway.problems import problem
from host.gateway.translate import read_head, read_reply, reply_headers, request_target
from host.model.errors import (
    ActorMethodError,
    BundleError,
    HandlerError,
    HandlerReplyError,
    HandlerTimeout,
    Unavailable,
    UsageError,
)
from host.model.message import HttpResponse

HOST = (b"host", b"a-1.localhost")
KiB = 1024


@pytest.mark.parametrize(
    "host",
    [
        b"a-1.localhost",
        b"A-1.LocalHost",
        b"a-1.localhost:8787",
        b"a-1.localhost.",
        b"a-1.localhost.:80",
        b"a-1.localhost:",
    ],
)
def test_a_label_is_found_whatever_the_case_port_and_trailing_dot(host: bytes) -> None:
    assert HostNames("localhost").label(host) == "a-1"


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"localhost",
        b".localhost",
        b"x.a-1.localhost",
        b"a-1.example.com",
        b"alocalhost",
        b"[::1]:8787",
        b"\xff",
        b"a-1.localhost:65536",
        b"a-1.localhost:x",
    ],
)
def test_other_hosts_have_no_label(host: bytes) -> None:
    assert HostNames("localhost").label(host) is None


def test_the_guest_sees_end_to_end_headers_in_order_and_no_hop_by_hop_ones() -> None:
    head = read_head(
        [HOST, (b"x-a", b"1"), (b"connection", b"keep-alive"), (b"x-a", b"2"), (b"te", b"trailers"), (b"x-b", b"")]
    )
    assert head.block == b"host: a-1.localhost\nx-a: 1\nx-a: 2\nx-b: \n"


def test_latin_1_header_values_become_utf_8_for_the_guest() -> None:
    assert read_head([HOST, (b"x-name", b"caf\xe9")]).block.decode() == "host: a-1.localhost\nx-name: café\n"


@pytest.mark.parametrize("value", [b"1\n2", b"1\r2", b"1\x002", b"1\r\nx-evil: 2"])
def test_a_line_break_in_a_request_header_never_reaches_the_guest(value: bytes) -> None:
    with pytest.raises(UsageError):
        read_head([HOST, (b"x-a", value)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [HOST, HOST],
        [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [HOST, (b"content-length", b"1"), (b"content-length", b"1")],
        [HOST, (b"content-length", b"+1")],
        [HOST, (b"content-length", b"1,1")],
        [HOST, (b"content-length", b"9" * 19)],
    ],
)
def test_a_request_with_ambiguous_framing_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(UsageError):
        read_head(headers)


def test_a_sane_request_id_is_kept_and_another_is_not() -> None:
    assert read_head([HOST, (b"x-request-id", b"trace-1.2:3")]).request_id == b"trace-1.2:3"
    for bad in (b"", b"a b", b"x" * 129, b"a\x7f", b"<script>"):
        assert read_head([HOST, (b"x-request-id", bad)]).request_id == b""


def test_a_request_target_keeps_its_escapes() -> None:
    assert request_target(b"/a%20b/%2e%2e/c", b"q=%26&r=1") == "/a%20b/%2e%2e/c?q=%26&r=1"
    assert request_target(b"http://elsewhere/a", b"") == "/a"
    for bad in (b"*", b"", b"ftp://x/a", b"a"):
        with pytest.raises(UsageError):
            request_target(bad, b"")


def test_reply_headers_keep_duplicates_in_order_and_lose_what_the_host_sets() -> None:
    block = (
        b"Set-Cookie: a=1\nset-cookie: b=2\nContent-Length: 99\nTransfer-Encoding: chunked\nConnection: close\n"
        b"x-request-id: mine\ndate: never\nx-name: caf\xc3\xa9\nx-empty:\n"
    )
    assert reply_headers(block) == (
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-name", b"caf\xe9"),
        (b"x-empty", b""),
    )


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (b"x-a: 1\r\nx-evil: 2\n", "x-a"),
        (b"x-a: 1\0\n", "x-a"),
        (b"x-a: 1\x7f\n", "x-a"),
        (b"no colon\n", "no colon"),
        (b": 1\n", "''"),
        (b"x a: 1\n", "x a"),
        (b"\n", "''"),
        (b"x-a: 1", "newline"),
        (b"x-a: \xff\n", "x-a"),
        ("x-moon: ☾\n".encode(), "x-moon"),
        (b"x-a\xc3\xa9: 1\n", "header name"),
    ],
)
def test_a_reply_header_that_cannot_be_sent_is_named(block: bytes, says: str) -> None:
    with pytest.raises(HandlerReplyError) as caught:
        reply_headers(block)
    assert says in caught.value.detail
    assert caught.value.http_status == 502


def _reply(response: HttpResponse, method: str = "GET") -> tuple[bytes, int | None]:
    reply = read_reply(response, method, 10 * KiB, 1 * KiB)
    return reply.body, reply.length


def test_lengths_follow_the_method_and_the_status() -> None:
    assert _reply(HttpResponse(200, b"", b"hello")) == (b"hello", 5)
    assert _reply(HttpResponse(200, b"", b"hello"), "HEAD") == (b"", 5)
    assert _reply(HttpResponse(204, b"", b"hello")) == (b"", None)
    assert _reply(HttpResponse(304, b"", b"hello")) == (b"", None)
    assert _reply(HttpResponse(205, b"", b"hello")) == (b"", 0)


def test_a_binary_body_is_its_bytes() -> None:
    data = bytes(range(256))
    assert _reply(HttpResponse(200, b"", base64.b64encode(data), True)) == (data, 256)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 65535])
def test_a_status_that_is_no_final_one_is_refused(status: int) -> None:
    with pytest.raises(HandlerReplyError, match=str(status)):
        _reply(HttpResponse(status))


@pytest.mark.parametrize("body", [b"a", b"ab$=", b"YQ", b"YQ==YQ==", b"\xff\xff\xff\xff"])
def test_malformed_base64_from_a_guest_is_refused(body: bytes) -> None:
    with pytest.raises(HandlerReplyError, match="base64"):
        _reply(HttpResponse(200, b"", body, True))


def test_reply_bodies_and_heads_have_an_edge() -> None:
    edge = b"x" * (10 * KiB)
    assert _reply(HttpResponse(200, b"", edge))[1] == 10 * KiB
    assert _reply(HttpResponse(200, b"", base64.b64encode(edge), True))[1] == 10 * KiB
    for over in (HttpResponse(200, b"", edge + b"x"), HttpResponse(200, b"", base64.b64encode(edge + b"x"), True)):
        with pytest.raises(HandlerReplyError, match="body"):
            _reply(over)
    with pytest.raises(HandlerReplyError, match="headers"):
        _reply(HttpResponse(200, b"x-a: " + b"x" * KiB + b"\n"))


def test_what_a_method_threw_stays_with_the_tenant() -> None:
    _, _, body = problem(ActorMethodError("secret 42", name="SecretError", cause="Secret"), b"r-1")
    assert b"ecret" not in body
    assert b"r-1" in body


def test_the_name_cause_and_stack_of_an_error_are_never_shown() -> None:
    _, _, body = problem(HandlerError("It failed.", name="SecretError", cause="Secret", stack="at secret.ts:1"), b"r")
    assert b"ecret" not in body


def test_the_hosts_own_words_are_shown_with_every_mistake() -> None:
    status, _, body = problem(BundleError("two", details=["first", "second"]), b"r")
    assert status == 422
    assert b'"detail":"first"' in body
    assert b'"detail":"second"' in body
    assert b"30 s" in problem(HandlerTimeout("It took over 30 s."), b"r")[2]


def test_unavailable_says_when_to_come_back() -> None:
    assert (b"retry-after", b"1") in problem(Unavailable("Full."), b"r")[1]
    assert not any(name == b"retry-after" for name, _ in problem(UsageError("No."), b"r")[1])
