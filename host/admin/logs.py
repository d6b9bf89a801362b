"""/v1/functions/{id or name}/logs: what a function logged, in pages or as it comes.

As it comes is a reply without an end: one JSON object a line, and an empty line when there was nothing for a while. It
ends when the function or the key does, or the host stops; who asks again goes on from the last line's `cursor`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from msgspec import Meta
from quart import Blueprint
from quart.wrappers import Response

from host.admin.auth import bearer, caller
from host.admin.contract import Lines, Moment, takes
from host.admin.paging import Paging, cursor_of, read_cursor, wrong_cursor
from host.admin.services import AdminServices, services
from host.admin.shapes import LogPage
from host.admin.views import log_json
from host.model.errors import Unavailable, UsageError
from host.registry.records import ApiKeyRecord
from host.telemetry.journal import Follower, Journal, missing
from host.telemetry.segments import Entry

blueprint = Blueprint("logs", __name__)

TYPES = ("console", "error", "invocation", "notice")
LEVELS = ("debug", "info", "warn", "error")
LAST_MAX = 10_000
SILENCE_S = 15.0
ARRIVES_LATE_MS = 60_000
"""A line is numbered when it arrives, which may be this long after what it tells."""


@dataclass(frozen=True)
class _Wanted:
    after: int
    limit: int
    newest: bool
    follow: bool
    since_ms: float
    types: tuple[str, ...]
    level: int
    instance: str

    def match(self, line: Entry) -> bool:
        """A notice is for everybody: it says that something is missing."""
        if line["time"] < self.since_ms:
            return False
        if line["type"] == "notice":
            return True
        if line["type"] not in self.types or LEVELS.index(line["level"]) < self.level:
            return False
        instance: str = line["instance"]
        return not self.instance or instance == self.instance or instance.startswith(f"{self.instance}/")


Last = Annotated[int, Meta(ge=0, le=LAST_MAX)]


class LogsQuery(Paging):
    since: Annotated[Moment | None, Meta(description="Lines from then on.")] = None
    last: Annotated[Last | None, Meta(description="The newest so many lines.")] = None
    type: Annotated[str, Meta(description=f"Of {', '.join(TYPES)}; several with commas between.")] = ",".join(TYPES)
    level: Annotated[Literal["debug", "info", "warn", "error"], Meta(description="This one and those above.")] = "debug"
    instance: Annotated[str, Meta(description="`handler`, an actor type, or one actor such as `Account/bob`.")] = ""
    follow: Annotated[bool, Meta(description="Go on with what comes, as a line of JSON each.")] = False


@blueprint.get("/functions/<ref>/logs")
@takes()
async def get_logs(ref: str, query: LogsQuery) -> LogPage | Lines:
    """Show what a function logged: the newest lines, or those after a moment or a cursor; the oldest comes first."""
    key = caller()
    function = services().registry.function(key.tenant, ref)
    wanted, journal = _wanted(query), _journal()
    if wanted.follow:
        journal.check_room(key.tenant)
        return _stream(_followed(services(), key, bearer(), function.id, wanted))
    page = await journal.read(function.id, wanted.after, wanted.match, wanted.limit, newest=wanted.newest)
    end = cursor_of((page.entries[-1]["seq"] if page.entries else wanted.after,))
    more = page.more and not wanted.newest
    shown = [log_json(line) for line in await services().with_stacks(function.id, page.entries)]
    return {"logs": shown, "next": end if more else None, "cursor": end}


def _journal() -> Journal:
    observed = services().observed
    if observed is None:
        raise Unavailable("This host keeps no logs.")
    return observed.journal


def _wanted(query: LogsQuery) -> _Wanted:
    after, limit = 0, query.limit
    if query.cursor:
        place = read_cursor(query.cursor)
        if len(place) != 1 or not isinstance(place[0], int):
            raise wrong_cursor()
        after = place[0]
    since_ms = 0.0 if query.since is None else query.since.timestamp() * 1000
    newest = not query.cursor and query.since is None
    if query.last is not None:
        limit, newest = query.last, True
    elif newest and query.follow:
        limit = 0
    types = tuple(query.type.split(","))
    if unknown := set(types) - set(TYPES):
        raise UsageError(f'"type" has to be of {", ".join(TYPES)}; {sorted(unknown)[0][:40]!r} is not.')
    after = max(after, int((since_ms - ARRIVES_LATE_MS) * 1000))
    return _Wanted(after, limit, newest, query.follow, since_ms, types, LEVELS.index(query.level), query.instance)


def _stream(pieces: AsyncIterator[bytes]) -> Response:
    response = Response(pieces, content_type="application/x-ndjson")
    response.timeout = None
    return response


async def _followed(
    admin: AdminServices, key: ApiKeyRecord, bearer_key: str, function_id: str, query: _Wanted
) -> AsyncIterator[bytes]:
    """Lines that are there, then those that come. Every one once, although both are looked at from the same moment."""
    assert admin.observed is not None
    journal = admin.observed.journal
    follower = journal.follow(function_id, key.tenant, query.match)
    shown = query.after
    try:
        for line in await admin.with_stacks(function_id, await _history(journal, function_id, query)):
            shown = line["seq"]
            yield _line(line)
        while _may_go_on(admin, key, bearer_key, function_id):
            lines = await follower.take(SILENCE_S)
            if journal.stopping or follower.over:
                return
            yield b"\n" if not lines else b""
            for line in await admin.with_stacks(function_id, _with_missed(follower, lines)):
                if line["seq"] > shown:
                    yield _line(line)
    finally:
        journal.leave(function_id, key.tenant, follower)


async def _history(journal: Journal, function_id: str, query: _Wanted) -> list[Entry]:
    if not query.limit:
        return []
    limit = query.limit if query.newest else LAST_MAX
    return (await journal.read(function_id, query.after, query.match, limit, newest=query.newest)).entries


def _with_missed(follower: Follower, lines: list[Entry]) -> list[Entry]:
    missed, follower.missed = follower.missed, 0
    if not missed or not lines:
        return lines
    return [{"seq": lines[0]["seq"], **missing(missed, lines[0]["time"])}, *lines]


def _may_go_on(admin: AdminServices, key: ApiKeyRecord, bearer_key: str, function_id: str) -> bool:
    """What was allowed when this began may have ended since."""
    registry = admin.registry
    is_there = function_id in registry.function_ids() and registry.accounts.is_active(key.tenant)
    return is_there and registry.authenticate(bearer_key) == key


def _line(line: Entry) -> bytes:
    return orjson.dumps(log_json(line)) + b"\n"
