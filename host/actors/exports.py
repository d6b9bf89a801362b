"""Exports of a tenant's actors, page by page, each from one snapshot: an actor's keys and alarm are of one moment.

A page is as many records as make `PAGE_BYTES`, each a line of JSON (docs/actor-export.md):

    {"actor": [type, name], "created_ms": n, "alarm_ms": n or null, "dead_alarm": {...} or null}
    {"key": key, "value": wire value}        the keys of the actor above; "text" in place of "value" for what is no JSON

A snapshot keeps what was overwritten since from being removed, so an export that nobody reads on ends after `IDLE_S`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator

from host.model import wire
from host.model.clock import Clock, TimerHandle
from host.model.errors import NotFound, Unavailable
from host.model.ids import ActorId
from host.storage import keys
from host.storage.ports import Engine, Scanned
from host.storage.records import decode_actor_record

PAGE_BYTES = 1 << 20
OPEN_MAX = 8
IDLE_S = 60.0
_CHUNK = 64


class _Export:
    def __init__(self, lines: Iterator[str], expiry: TimerHandle) -> None:
        self.lines = lines
        self.expiry = expiry
        self.reading = asyncio.Lock()


class Exports:
    """Those that are under way on one shard. Everything runs on the loop, reading in threads."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._open: dict[str, _Export] = {}

    def begin(self, tenant: str, actor: ActorId | None) -> str:
        """What to ask `more` with: for all of a tenant's actors as they are now, or for one. Raises Unavailable."""
        if len(self._open) >= OPEN_MAX:
            raise Unavailable("Too many exports are under way. Try again in a minute.")
        try:
            snapshot = self._engine.snapshot()
        except OSError as error:
            raise Unavailable("The host could not read its actors. Try again in a moment.") from error
        identifier = secrets.token_hex(8)
        expiry = self._clock.call_later(IDLE_S, lambda: self.end(identifier))
        self._open[identifier] = _Export(actor_lines(snapshot, tenant, actor), expiry)
        return identifier

    async def more(self, identifier: str) -> list[str]:
        """The next lines; none when there are no more. Raises NotFound, Unavailable."""
        export = self._open.get(identifier)
        if export is None:
            raise NotFound("This export was not read for a minute and has ended. Start it again.")
        export.expiry.cancel()
        async with export.reading:
            try:
                page = await asyncio.to_thread(_page, export.lines)
            except (OSError, ValueError) as error:
                self.end(identifier)
                raise Unavailable("The host could not read its actors. Try again in a moment.") from error
        if identifier in self._open:
            export.expiry = self._clock.call_later(IDLE_S, lambda: self.end(identifier))
        if not page:
            self.end(identifier)
        return page

    def end(self, identifier: str) -> None:
        export = self._open.pop(identifier, None)
        if export is not None:
            export.expiry.cancel()

    async def close(self) -> None:
        """End all: none holds on to the engine when this returns."""
        exports, self._open = list(self._open.values()), {}
        for export in exports:
            export.expiry.cancel()
            async with export.reading:
                export.lines = iter(())


def _page(lines: Iterator[str]) -> list[str]:
    page: list[str] = []
    size = 0
    for line in lines:
        page.append(line)
        size += len(line)
        if size >= PAGE_BYTES:
            break
    return page


def actor_lines(snapshot: Scanned, tenant: str, actor: ActorId | None) -> Iterator[str]:
    """All of a tenant's actors, or one. Blocks. Raises OSError, ValueError."""
    start, end = keys.actors_range(tenant)
    if actor is not None:
        start, end = keys.actor_key(actor), keys.actors_after(actor)
    while chunk := snapshot.scan(start, end, limit=_CHUNK):
        for key, value in chunk:
            yield from _lines_of(snapshot, keys.decode_actor(key), value)
        start = chunk[-1][0] + b"\x00"


def _lines_of(snapshot: Scanned, actor: ActorId, stored: bytes) -> Iterator[str]:
    record = decode_actor_record(stored)
    place = keys.dead_alarm_key(actor)
    dead = snapshot.scan(place, place + b"\x00", limit=1)
    yield wire.write(
        {
            "actor": [actor.type, actor.name],
            "created_ms": record.created_ms,
            "alarm_ms": record.alarm_ms,
            "dead_alarm": json.loads(dead[0][1]) if dead else None,
        }
    )
    start, end = keys.state_range(actor)
    cut = len(start)
    while chunk := snapshot.scan(start, end, limit=_CHUNK):
        for key, value in chunk:
            name, text = key[cut:].decode(), value.decode()
            try:
                yield wire.write({"key": name, "value": wire.read(text)})
            except (ValueError, RecursionError):  # of a guest that stores something else than its SDK writes
                yield wire.write({"key": name, "text": text})
        start = chunk[-1][0] + b"\x00"
