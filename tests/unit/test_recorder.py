"""What a worker notes of its guests' invocations: every one is counted, and a line is kept of some."""

from __future__ import annotations

import json

from host.model.clock import ManualClock
from host.model.limits import LOG_LIMITS
from host.model.manifest import Manifest
from host.model.version import Version
from host.telemetry.batch import decode_batch
from host.telemetry.recorder import Invocation, Recorder

MOST = LOG_LIMITS.invocation_lines_per_batch_max
VERSION = Version("tenant", "id", "hello", 1, "0" * 64, Manifest("hello", "src/index.ts"), "", True, ())


def _noted(kind: str) -> Invocation:
    error = "" if kind == "responded" else "TypeError"
    return (VERSION, None, "GET", "http://x/path?secret=1", kind, error, 200, 1.0, 1.5, 0.25, 3, 4, "id", None)


def test_a_function_that_is_invoked_very_often_is_counted_whole_and_logged_in_part() -> None:
    recorder = Recorder(ManualClock(), lambda: None)
    for _ in range(MOST + 500):
        recorder.invocation(_noted("responded"))
    recorder.invocation(_noted("crashed"))
    batch = decode_batch(recorder.batch())
    [lines] = batch.lines
    assert len(lines.lines) == MOST + 1  # and what failed is among them
    assert lines.dropped == 500
    assert json.loads(lines.lines[-1])["outcome"] == "crashed"
    [(_, kind, counted)] = batch.counts
    assert (kind, counted.outcomes) == ("request", {"ok": MOST + 500, "crashed": 1})
    recorder.invocation(_noted("responded"))
    assert len(decode_batch(recorder.batch()).lines[0].lines) == 1


def test_of_what_a_function_logs_in_a_flood_the_last_lines_are_kept_and_the_rest_is_counted() -> None:
    recorder = Recorder(ManualClock(), lambda: None)
    most = LOG_LIMITS.console_lines_per_batch_max
    for number in range(most + 300):
        recorder.logged(VERSION, None, "console", "info", "id", str(number))
    recorder.invocation(_noted("responded"))
    [lines] = decode_batch(recorder.batch()).lines
    assert lines.dropped == 300
    assert [json.loads(line).get("text") for line in lines.lines] == [*map(str, range(300, most + 300)), None]
