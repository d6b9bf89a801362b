"""/v1/functions/{id or name}/logs: what a function logged, in pages or as it comes.

As it comes is a reply without an end: one JSON object a line, and an empty line when there was nothing for a while. It
ends when the function or the key does, or the host stops; who asks again goes on from the last line's `cursor`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from quart import Blueprint, request
from quart.wrappers import Response

from host.admin.auth import bearer, caller
from host.admin.paging import cursor_of, page_query, read_cursor, wrong_cursor
from host.admin.requests import moment
from host.admin.services import AdminServices, services
from host.admin.views import log_json
from host.model.errors import Unavailable, UsageError
from host.registry.records import ApiKeyRecord
from host.telemetry.journal import Follower, Journal, notice
from host.telemetry.segments import Entry

blueprint = Blueprint("logs", __name__)

TYPES = ("console", "error", "invocation", "notice")
LEVELS = ("debug", "info", "warn", "error")
LAST_MAX = 10_000
SILENCE_S = 15.0
ARRIVES_LATE_MS = 60_000
"""A line is numbered when it arrives, which may be this long after what it tells."""


@dataclass(frozen=True)
class _Query:
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


@blueprint.get("/functions/<ref>/logs")
async def get_logs(ref: str) -> dict[str, Any] | Response:
    """The newest lines, or those after a moment or a cursor; the oldest comes first."""
    key = caller()
    function = services().registry.function(key.tenant, ref)
    query, journal = _read_query(), _journal()
    if query.follow:
        journal.check_room(key.tenant)
        return _stream(_followed(services(), key, bearer(), function.id, query))
    page = await journal.read(function.id, query.after, query.match, query.limit, newest=query.newest)
    end = cursor_of((page.entries[-1]["seq"] if page.entries else query.after,))
    more = page.more and not query.newest
    shown = [log_json(line, function.id, services()) for line in page.entries]
    return {"logs": shown, "next": end if more else None, "cursor": end}


def _journal() -> Journal:
    observed = services().observed
    if observed is None:
        raise Unavailable("This host keeps no logs.")
    return observed.journal


def _read_query() -> _Query:
    given = request.args
    follow = given.get("follow", "false")
    if follow not in ("true", "false"):
        raise UsageError('"follow" has to be true or false.')
    limit, cursor = page_query()
    after = 0
    if cursor:
        place = read_cursor(cursor)
        if len(place) != 1 or not isinstance(place[0], int):
            raise wrong_cursor()
        after = place[0]
    since_ms = moment(given["since"], "since") if "since" in given else 0.0
    newest = not cursor and "since" not in given
    if "last" in given:
        limit, newest = _last(given["last"]), True
    elif newest and follow == "true":
        limit = 0
    types = tuple(given.get("type", ",".join(TYPES)).split(","))
    if unknown := set(types) - set(TYPES):
        raise UsageError(f'"type" has to be of {", ".join(TYPES)}; {sorted(unknown)[0][:40]!r} is not.')
    level = given.get("level", "debug")
    if level not in LEVELS:
        raise UsageError(f'"level" has to be one of {", ".join(LEVELS)}.')
    after = max(after, int((since_ms - ARRIVES_LATE_MS) * 1000))
    return _Query(
        after, limit, newest, follow == "true", since_ms, types, LEVELS.index(level), given.get("instance", "")
    )


def _last(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= LAST_MAX):
        raise UsageError(f'"last" has to be a number from 0 to {LAST_MAX:,}.')
    return int(text)


def _stream(pieces: AsyncIterator[bytes]) -> Response:
    response = Response(pieces, content_type="application/x-ndjson")
    response.timeout = None
    return response


async def _followed(
    admin: AdminServices, key: ApiKeyRecord, bearer_key: str, function_id: str, query: _Query
) -> AsyncIterator[bytes]:
    """Lines that are there, then those that come. Every one once, although both are looked at from the same moment."""
    assert admin.observed is not None
    journal = admin.observed.journal
    follower = journal.follow(function_id, key.tenant, query.match)
    shown = query.after
    try:
        for line in await _history(journal, function_id, query):
            shown = line["seq"]
            yield _line(line, function_id, admin)
        while _may_go_on(admin, key, bearer_key, function_id):
            lines = await follower.take(SILENCE_S)
            if journal.stopping:
                return
            yield b"\n" if not lines else b""
            for line in _with_missed(follower, lines):
                if line["seq"] > shown:
                    yield _line(line, function_id, admin)
    finally:
        journal.leave(function_id, key.tenant, follower)


async def _history(journal: Journal, function_id: str, query: _Query) -> list[Entry]:
    if not query.limit:
        return []
    limit = query.limit if query.newest else LAST_MAX
    return (await journal.read(function_id, query.after, query.match, limit, newest=query.newest)).entries


def _with_missed(follower: Follower, lines: list[Entry]) -> list[Entry]:
    missed, follower.missed = follower.missed, 0
    if not missed or not lines:
        return lines
    return [{"seq": lines[0]["seq"], **notice(missed, lines[0]["time"])}, *lines]


def _may_go_on(admin: AdminServices, key: ApiKeyRecord, bearer_key: str, function_id: str) -> bool:
    """What was allowed when this began may have ended since."""
    registry = admin.registry
    is_there = function_id in registry.function_ids() and registry.accounts.is_active(key.tenant)
    return is_there and registry.authenticate(bearer_key) == key


def _line(line: Entry, function_id: str, admin: AdminServices) -> bytes:
    return orjson.dumps(log_json(line, function_id, admin)) + b"\n"
