"""What a worker notes of its guests: what they logged, how each invocation went, the spans of traced ones.

On the way of an invocation this is one append to a list. Every tenth of a second what came together is counted, made
into lines and handed on as one batch (`batch`): so nothing here waits for a disk or another process, and a worker that
dies loses at most what it had not handed on.

An *invocation* is one call of a guest: a request to a handler, or a turn of an actor. Every one is counted; a line is
kept of a `share` of them and of all that failed (of none when the share is 0). A function that is invoked faster than
its log is worth gets `invocation_lines_per_batch_max` lines a batch, and of what it logs itself the last
`console_lines_per_batch_max`; how many more there were is said in their place. A path in a line has no query: people
put secrets there.

Shape of a noted invocation: (version, actor or None for the handler, what, url, outcome kind, error name, HTTP status
or 0, began and ended (monotonic s), CPU s, bytes in, bytes out, request id, trace or None). `what` is an HTTP method
for a handler; for an actor `name()`, "fetch" or "alarm".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from host.model.clock import Clock
from host.model.ids import ActorId
from host.model.limits import LOG_LIMITS, LogLimits
from host.model.trace import Trace
from host.model.version import Version
from host.telemetry.batch import Counted, Counts, SpanRow, encode_batch
from host.telemetry.waiting import Waiting

HAND_ON_EVERY_S = 0.1
HANDLER = "handler"
CUT = " … [cut]"
OK = "ok"
RAW_MAX = 10_000
RAW_CHARS_MAX = 4 << 20
SPANS_MAX = 5_000

Invocation = tuple[
    Version, ActorId | None, str, str | bytes, str, str, int, float, float, float, int, int, str, Trace | None
]
_Logged = tuple[Version, ActorId | None, str, str, float, str, str]


class Recorder:
    """`on_first` is called for the first thing that is noted since the last `batch`. Everything runs on the loop."""

    def __init__(
        self, clock: Clock, on_first: Callable[[], None], share: float = 1.0, limits: LogLimits = LOG_LIMITS
    ) -> None:
        self._clock = clock
        self._on_first = on_first
        self._share = share
        self._turn = 0.0  # a line is kept when it reaches 1
        self._kept: dict[str, int] = {}  # lines of well-ended invocations since the last digest, by function
        self._limits = limits
        self._raw: list[Invocation | _Logged] = []
        self._raw_chars = 0
        self._waiting = Waiting(limits)
        self._counts = Counts()
        self._spans: list[SpanRow] = []
        self.spans_dropped = 0

    @property
    def lines_dropped(self) -> int:
        return self._waiting.dropped

    # --- noting -------------------------------------------------------------------------------------------------------

    def invocation(self, ended: Invocation) -> None:
        raw = self._raw
        if not raw:
            self._on_first()
        raw.append(ended)
        if len(raw) > RAW_MAX:
            self.digest()

    def fetched(self, version: Version, actor: ActorId | None) -> None:
        """A guest began a request to the outside."""
        self._counts_of(version, actor).fetches += 1

    def over(self, version: Version, quota: str) -> None:
        """Something was refused because of a quota."""
        over = self._counts_of(version, None).over
        over[quota] = over.get(quota, 0) + 1

    def _counts_of(self, version: Version, actor: ActorId | None) -> Counted:
        if not self._raw and not self._counts:
            self._on_first()
        return self._counts.of(version.function_id, "request" if actor is None else "method")

    def logged(
        self, version: Version, actor: ActorId | None, kind: str, level: str, request_id: str, text: str
    ) -> None:
        """A line of the guest's (`kind` "console"), or what it threw and nobody caught ("error")."""
        if len(text) > self._limits.line_chars_max:
            text = text[: self._limits.line_chars_max] + CUT
        if not self._raw:
            self._on_first()
        self._raw.append((version, actor, kind, level, self._clock.now(), request_id, text))
        self._raw_chars += len(text)
        if self._raw_chars > RAW_CHARS_MAX:
            self.digest()

    def span(
        self,
        name: str,
        kind: str,
        trace: Trace,
        began: float,
        ended: float,
        attributes: dict[str, Any],
        error: str = "",
    ) -> None:
        """`began` and `ended` are monotonic. `kind` is server, client or internal."""
        if not self._raw and not self._spans:
            self._on_first()
        if len(self._spans) >= SPANS_MAX:
            del self._spans[: SPANS_MAX // 2]
            self.spans_dropped += SPANS_MAX // 2
        offset_ms = self._offset_ms()
        self._spans.append((*trace, name, kind, _ns(began, offset_ms), _ns(ended, offset_ms), attributes, error))

    # --- handing on ---------------------------------------------------------------------------------------------------

    def batch(self) -> bytes:
        """All that was noted, for `batch.decode_batch`; b"" when nothing was. It is forgotten here."""
        self.digest()
        if not self._waiting and not self._counts and not self._spans:
            return b""
        counts, self._counts = self._counts, Counts()
        spans, self._spans = self._spans, []
        return encode_batch(self._waiting.take(), counts, spans)

    def digest(self) -> None:
        """Make bounded what was noted since the last time."""
        raw = self._raw[:]
        self._raw.clear()
        self._raw_chars = 0
        self._kept.clear()
        offset_ms = self._offset_ms()
        surplus = self._surplus(raw)
        for noted in raw:
            if len(noted) == 7:
                function_id = noted[0].function_id
                if surplus and surplus.get(function_id, 0) > 0:
                    surplus[function_id] -= 1
                    self._waiting.missed(function_id, 1)
                else:
                    self._read_logged(noted)
            else:
                self._read_invocation(noted, offset_ms)

    def _surplus(self, raw: list[Invocation | _Logged]) -> dict[str, int]:
        """How many of its lines, the oldest, are too many, for each function that has such. To make them into text only
        to drop them would keep the loop from everybody.
        """
        most = self._limits.console_lines_per_batch_max
        if len(raw) <= most:
            return {}
        counts = Counter(noted[0].function_id for noted in raw if len(noted) == 7)
        return {function_id: count - most for function_id, count in counts.items() if count > most}

    def _offset_ms(self) -> float:
        """From the monotonic clock to milliseconds since 1970."""
        return self._clock.now() - self._clock.monotonic() * 1000

    def _read_logged(self, noted: _Logged) -> None:
        version, actor, kind, level, time_ms, request_id, text = noted
        line = {
            "time": time_ms,
            "type": kind,
            "level": level,
            "instance": instance_name(actor),
            "version": version.number,
            "request_id": request_id,
            "text": text,
        }
        self._waiting.add(version.function_id, orjson.dumps(line))

    def _read_invocation(self, noted: Invocation, offset_ms: float) -> None:
        version, actor, what, url, kind, error, status, began, ended, cpu_s, size_in, size_out, request_id, trace = (
            noted
        )
        wall_s = ended - began
        fine = kind == "returned" or kind == "responded"
        outcome = OK if fine else kind
        counted = self._counts.of(version.function_id, _kind_of_work(actor, what))
        counted.add(outcome, wall_s, cpu_s, size_in, size_out)
        if trace is not None:
            self._spans.append(_span(noted, trace, offset_ms, "" if fine else error or kind))
        self._turn += self._share
        if self._turn >= 1.0:
            self._turn -= 1.0
        elif fine or not self._share:
            return
        if fine:
            kept = self._kept.get(version.function_id, 0)
            if kept >= self._limits.invocation_lines_per_batch_max:
                self._waiting.missed(version.function_id, 1)
                return
            self._kept[version.function_id] = kept + 1
        line: dict[str, Any] = {
            "time": offset_ms + ended * 1000,
            "type": "invocation",
            "level": "info" if fine else "error",
            "instance": instance_name(actor),
            "version": version.number,
            "request_id": request_id,
            "method": what.removesuffix("()"),
        }
        if url:
            line["path"] = _path(url)
        line["outcome"] = outcome
        if status:
            line["status"] = status
        if error:
            line["error"] = error
        line["wall_ms"] = round(wall_s * 1000, 3)
        line["cpu_ms"] = round(cpu_s * 1000, 3)
        line["bytes_in"], line["bytes_out"] = size_in, size_out
        self._waiting.add(version.function_id, orjson.dumps(line))


def instance_name(actor: ActorId | None) -> str:
    """As lines name it: "handler", or type and name of an actor."""
    return HANDLER if actor is None else f"{actor.type}/{actor.name}"


def _kind_of_work(actor: ActorId | None, what: str) -> str:
    if actor is None:
        return "request"
    return what if what in ("fetch", "alarm") else "method"


def _path(url: str | bytes) -> str:
    text = url.decode(errors="replace") if isinstance(url, bytes) else url
    start = text.find("/", text.find("://") + 3)
    path = "/" if start < 0 else text[start:]
    for end in "?#":
        path = path.partition(end)[0]
    return path


def _span(noted: Invocation, trace: Trace, offset_ms: float, error: str) -> SpanRow:
    version, actor, what, url, _kind, _error, status, began, ended, cpu_s, _in, _out, request_id, _trace = noted
    attributes: dict[str, Any] = {
        "tenure.tenant": version.tenant,
        "tenure.function": version.function_name,
        "tenure.version": version.number,
        "tenure.request_id": request_id,
        "tenure.cpu_ms": round(cpu_s * 1000, 3),
    }
    if actor is None:
        name, kind = f"{what} {version.function_name}", "server"
        attributes |= {"http.request.method": what, "url.path": _path(url), "http.response.status_code": status}
    else:
        name, kind = f"{actor.type}.{what.removesuffix('()')}", "internal"
        attributes |= {"tenure.actor.type": actor.type, "tenure.actor.name": actor.name}
    return (*trace, name, kind, _ns(began, offset_ms), _ns(ended, offset_ms), attributes, error)


def _ns(monotonic: float, offset_ms: float) -> int:
    """Nanoseconds since 1970."""
    return int((monotonic * 1000 + offset_ms) * 1_000_000)
