"""Spans of real requests at a real collector: who is whose parent, and what a trace costs when nobody asked for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from host import server
from host.config import ServeConfig
from host.model.trace import Sampler, parse_traceparent, traced, traceparent_of
from tests.conftest import GUESTS, config_in, shipping_to
from tests.kit.until import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


class Collector(ThreadingHTTPServer):
    """Takes spans at /v1/traces; any GET is answered with the `traceparent` it came with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def named(self, name: str) -> Any:
        return next((span for span in self.spans if span.name == name), None)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        if self.server.status == 200:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += scope.spans
        self._reply(self.server.status, ExportTraceServiceResponse().SerializeToString())

    def do_GET(self) -> None:
        self._reply(200, self.headers.get("traceparent", "none").encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, collector: Collector) -> ServeConfig:
    loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    return replace(config_in(tmp_path), otlp_endpoint=collector.url, trace_share=0.0, outbound_permitted=loopback)


def ids(span: Any) -> tuple[str, str, str]:
    """Of a span: its trace, itself, its parent."""
    return span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_request_goes_on_in_its_callers_trace_down_to_the_commit(
    config: ServeConfig, collector: Collector
) -> None:
    async with server.running(config) as host, shipping_to(host) as ship:
        site = await ship(GUESTS / "observed")
        assert (await site.get("/add/alice?token=hush", headers={**PARENT, "x-request-id": "r-7"})).text == "1"
        await wait_until(lambda: len(collector.spans) == 3, "three spans")
        request, turn, commit = (collector.named(name) for name in ("GET observed", "Counter.add", "commit"))
        assert ids(request)[::2] == (TRACE, CALLER)
        assert ids(turn)[::2] == (TRACE, ids(request)[1])
        assert ids(commit)[::2] == (TRACE, ids(turn)[1])
        assert [span.kind for span in (request, turn, commit)] == [2, 1, 1]
        assert request.start_time_unix_nano <= turn.start_time_unix_nano <= turn.end_time_unix_nano
        assert turn.end_time_unix_nano <= commit.end_time_unix_nano <= request.end_time_unix_nano
        told = attributes(request)
        assert (told["http.request.method"], told["url.path"]) == ("GET", "/add/alice")
        assert (told["tenure.function"], told["tenure.request_id"], told["tenure.version"]) == ("observed", "r-7", 1)
        assert attributes(turn)["tenure.actor.name"] == "alice"
        assert request.status.code == 0


async def test_a_guest_and_whom_it_fetches_from_read_the_trace(config: ServeConfig, collector: Collector) -> None:
    async with server.running(config) as host, shipping_to(host) as ship:
        site = await ship(GUESTS / "observed")
        seen = (await site.get("/", headers=PARENT)).json()["traceparent"]
        fetched = (await site.get(f"/fetch?url={collector.url}/there", headers=PARENT)).text
        await wait_until(lambda: len(collector.spans) == 3, "three spans")
        fetch = collector.named("fetch GET")
        assert seen in {f"00-{TRACE}-{ids(span)[1]}-01" for span in collector.spans}
        assert fetched == f"00-{TRACE}-{ids(fetch)[1]}-01"
        assert (fetch.kind, attributes(fetch)["http.response.status_code"]) == (3, 200)


async def test_a_failure_is_marked_and_an_untraced_request_has_no_span(
    config: ServeConfig, collector: Collector
) -> None:
    unsampled = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    async with server.running(config) as host, shipping_to(host) as ship:
        site = await ship(GUESTS / "observed")
        assert (await site.get("/", headers=unsampled)).json() == unsampled, "it keeps the header it came with"
        assert (await site.get("/")).json() == {"traceparent": None}
        await site.get("/throw", headers=PARENT)
        await wait_until(lambda: collector.spans, "a span")
        (span,) = collector.spans
        assert (span.status.code, span.status.message) == (2, "TypeError")


async def test_spans_that_the_collector_refuses_are_dropped_and_counted(
    config: ServeConfig, collector: Collector
) -> None:
    collector.status = 400
    async with server.running(config) as host, shipping_to(host) as ship:
        site = await ship(GUESTS / "observed")
        await site.get("/", headers=PARENT)
        spans = host.control.observed.spans
        assert spans is not None
        await wait_until(lambda: spans.dropped == 1, "the span's end")
        collector.status = 200
        await site.get("/", headers=PARENT)
        await wait_until(lambda: spans.exported == 1, "the next span")


async def test_a_host_without_a_collector_traces_nothing(tmp_path: Path) -> None:
    async with server.running(config_in(tmp_path)) as host, shipping_to(host) as ship:
        site = await ship(GUESTS / "observed")
        assert (await site.get("/", headers=PARENT)).json() == PARENT
        assert host.control.observed.spans is None


@pytest.mark.parametrize(
    "header",
    [b"", b"x", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"ff" + b"-" + TRACE.encode() + b"-00f067aa0ba902b7-01",
     b"00-" + TRACE.encode() + b"-0000000000000000-01", b"00-" + TRACE.encode() + b"-00f067aa0ba902b7-01-more",
     b"00-" + TRACE.upper().encode() + b"-00f067aa0ba902b7-01"],
)  # fmt: skip
def test_a_traceparent_that_says_nothing_begins_a_trace_of_its_own(header: bytes) -> None:
    assert parse_traceparent(header) is None
    begun = Sampler(1.0).begin(header)
    assert begun is not None
    assert begun.parent_id == ""


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    found = parse_traceparent(f"cc-{TRACE}-{CALLER}-01-what-comes".encode())
    assert found is not None
    assert (found[0].trace_id, found[1]) == (TRACE, True)


def test_a_header_block_has_one_traceparent_afterwards() -> None:
    trace = Sampler(1.0).begin()
    assert trace is not None
    for block in (b"", b"a: b\n", b"traceparent: old\na: b\n", b"a: b\ntraceparent: old\n"):
        after = traced(block, trace)
        assert after.count(b"traceparent: ") == 1
        assert traceparent_of(after) == trace.header
        assert (b"a: b\n" in after) == (b"a: b\n" in block)
    assert traceparent_of(b"x-traceparent: 1\n") == b""
