"""The host's own log: one line per event on stderr, so that any supervisor can collect it and any grep can read it.

    log = get("storage.commit")
    log.error("sync_failed", seq=41, error=error)

    time=2026-05-01T10:00:00.123Z level=error log=storage.commit event=sync_failed seq=41 error="OSError: disk full"

Invariants: a record is exactly one line whatever its values hold (a tenant's text cannot forge a record or move an
operator's cursor); a record is one `write`, so threads do not mix their lines; logging never raises. An event is a
short snake_case name that does not vary; what varies goes into fields.

The environment decides the form at start: TENURE_LOG=json writes JSON instead of logfmt, TENURE_LOG_LEVEL is the
lowest level written (debug, info, warn, error; info by default). `configure` changes both later.

Not here: what guests log (`telemetry.recorder`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}

_BARE_MAX = 200  # longer texts are quoted, so that the eye finds their end


class _Settings:
    """Shared by all logs, so that `configure` reaches those that modules hold already."""

    __slots__ = ("as_json", "lowest", "stream")

    def __init__(self) -> None:
        self.as_json = os.environ.get("TENURE_LOG", "").strip().lower() == "json"
        self.lowest = LEVELS.get(os.environ.get("TENURE_LOG_LEVEL", "").strip().lower(), LEVELS["info"])
        self.stream: TextIO | None = None


_settings = _Settings()


def configure(
    *, level: str | None = None, as_json: bool | None = None, stream: TextIO | None = None, to_stderr: bool = False
) -> None:
    """Change what is written, how and where, for every log; what is not given stays. `to_stderr` undoes `stream`.

    Raises ValueError for an unknown level.
    """
    if level is not None:
        if level not in LEVELS:
            raise ValueError(f"unknown log level {level!r}: use one of {', '.join(LEVELS)}")
        _settings.lowest = LEVELS[level]
    if as_json is not None:
        _settings.as_json = as_json
    if stream is not None or to_stderr:
        _settings.stream = stream


class Log:
    """Writes the events of one part of the host. A level that is off costs one comparison."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, event: str, /, **fields: object) -> None:
        if _settings.lowest <= 10:
            self._write("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        if _settings.lowest <= 20:
            self._write("info", event, fields)

    def warn(self, event: str, /, **fields: object) -> None:
        if _settings.lowest <= 30:
            self._write("warn", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._write("error", event, fields)

    def exception(self, event: str, error: BaseException, /, **fields: object) -> None:
        """An error that the host did not expect: like `error`, with its trace as a field of the same line."""
        trace = "".join(traceback.format_exception(error))
        self._write("error", event, {**fields, "error": error, "trace": trace})

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        record: dict[str, object] = {"time": stamp, "level": level, "log": self.name, "event": event, **fields}
        # A closed or full stderr must not end a request: the record is lost, the host goes on.
        with contextlib.suppress(OSError, ValueError):
            line = _json(record) if _settings.as_json else _logfmt(record)
            (_settings.stream or sys.stderr).write(line + "\n")


def get(name: str) -> Log:
    """The log of one part of the host, named by its module without `host.`, such as "storage.commit"."""
    return Log(name)


def _logfmt(record: dict[str, object]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in record.items())


def _logfmt_value(value: object) -> str:
    text = _text(value)
    plain = text.isprintable()  # no control, no line separator, no lone surrogate
    if plain and text and len(text) <= _BARE_MAX and not any(c in text for c in ' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=not plain)


def _json(record: dict[str, object]) -> str:
    return json.dumps({key: _json_value(value) for key, value in record.items()})


def _json_value(value: object) -> object:
    return value if value is None or isinstance(value, (bool, int, float)) else _text(value)


def _text(value: object) -> str:
    """How a value reads. An object that cannot even be shown must not stop the record."""
    match value:
        case str():
            return value
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}"
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"
