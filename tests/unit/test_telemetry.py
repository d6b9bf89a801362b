"""A record of the host's log is one line whatever it holds, and writing it never fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from host.telemetry import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure(level="info", as_json=False, stream=stream)
    yield stream
    log.configure(level="info", as_json=False, to_stderr=True)


def test_a_record_is_time_level_log_event_and_its_fields(stream: io.StringIO) -> None:
    log.get("gateway").info("request_done", status=200, seconds=0.25, ok=True, nothing=None, path="/a b", empty="")
    time, _, rest = stream.getvalue().partition(" ")
    assert time.startswith("time=")
    assert time.endswith("Z")
    assert rest == (
        'level=info log=gateway event=request_done status=200 seconds=0.25 ok=true nothing=none path="/a b" empty=""\n'
    )


@pytest.mark.parametrize(
    "text", ["a\nlevel=error event=forged", "\x1b[2J", "\u2028", "\x9b", 'say "x"', "a=b", "\ud800"]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_value_forges_a_record_or_moves_the_cursor(stream: io.StringIO, text: str, as_json: bool) -> None:
    log.configure(as_json=as_json)
    log.get("x").warn("event", text=text)
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    value = json.loads(written)["text"] if as_json else json.loads(written.partition("text=")[2])
    assert value == text


def test_json_keeps_numbers_as_numbers(stream: io.StringIO) -> None:
    log.configure(as_json=True)
    log.get("x").error("event", count=3, share=0.5, ok=False, nothing=None, error=ValueError("no"))
    record = json.loads(stream.getvalue())
    del record["time"]
    assert record == {
        "level": "error", "log": "x", "event": "event",
        "count": 3, "share": 0.5, "ok": False, "nothing": None, "error": "ValueError: no",
    }  # fmt: skip


def test_a_level_that_is_off_writes_nothing(stream: io.StringIO) -> None:
    log.configure(level="error")
    one = log.get("x")
    one.debug("a")
    one.info("b")
    one.warn("c")
    one.error("d")
    assert stream.getvalue().count("event=") == 1
    with pytest.raises(ValueError, match="use one of debug, info, warn, error"):
        log.configure(level="loud")


def test_an_exception_is_one_line_with_its_trace(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError as error:
        log.get("x").exception("failed", error, seq=1)
    assert stream.getvalue().count("\n") == 1
    assert "test_telemetry.py" in stream.getvalue()


def test_logging_never_raises(stream: io.StringIO) -> None:
    class Unshowable:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.get("x").info("event", value=Unshowable())
    assert "<Unshowable that cannot be shown>" in stream.getvalue()
    stream.close()
    log.get("x").info("event")
