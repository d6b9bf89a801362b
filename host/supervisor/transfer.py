"""The file of an export, and what an import makes of one. docs/actor-export.md is its description for others.

    {"tenure_export": 1, "tenant": tenant, "exported_at": time}      the first line
    the lines of `actors.exports`
    {"end": {"actors": n, "keys": n}}                                the last line: without it the file was cut short

An import reads the whole file before it writes anything, so a file that is malformed, or was cut, changes nothing. Each
actor is then written as one turn; one that is larger than a turn may be, in several, between which its turns go on. The
tenant that is named in the file is not looked at: whose actors they become is said by whoever imports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from host.actors.tools import Imported, shown
from host.model import wire
from host.model.errors import Conflict, UsageError
from host.model.ids import ActorId
from host.model.limits import LIMITS, MiB
from host.supervisor.actors import AllActors

FORMAT = 1
PART_BYTES_MAX = 8 * MiB
"""Of keys and values that are written at once; a turn may write twice as much."""
_CONFLICTS_SHOWN = 10
_THERE_AT_ONCE = 1_000
_ALARM_MS_MAX = 8_640_000_000_000_000


async def export_lines(actors: AllActors, tenant: str, actor: ActorId | None) -> AsyncIterator[bytes]:
    """The file of an export, in pieces. Raises TenureError, in the middle as well: then the last line is missing."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    yield head_line(tenant, now)
    counts = {"actors": 0, "keys": 0}
    async for page in actors.export(tenant, actor):
        for line in page:
            counts["actors" if line.startswith('{"actor":') else "keys"] += 1
        yield ("\n".join(page) + "\n").encode()
    yield end_line(counts)


def head_line(tenant: str, moment: str) -> bytes:
    """`moment` is ISO 8601 in UTC."""
    return wire.write({"tenure_export": FORMAT, "tenant": tenant, "exported_at": moment}).encode() + b"\n"


def end_line(counts: dict[str, int]) -> bytes:
    """`counts` of "actors" and "keys"."""
    return wire.write({"end": counts}).encode() + b"\n"


async def import_file(actors: AllActors, tenant: str, path: Path, *, replace: bool, check: bool) -> int:
    """How many actors were written; with `check` none is, but all that would refuse it does.

    Raises UsageError (the file), Conflict (actors that are there and not to be replaced), Unavailable, StorageBroken.
    """
    found = await asyncio.to_thread(lambda: [(actor, part.first) for actor, part in read_parts(tenant, path)])
    names = [actor for actor, first in found if first]
    if not replace:
        await _check_free(actors, names)
    if check:
        return len(names)
    parts = read_parts(tenant, path)
    while (one := await asyncio.to_thread(next, parts, None)) is not None:
        await actors.restore(*one, replace)
    return len(names)


async def _check_free(actors: AllActors, names: list[ActorId]) -> None:
    there: list[ActorId] = []
    bounds = [*range(0, len(names), _THERE_AT_ONCE), len(names)]
    for start, end in pairwise(bounds):
        there += await actors.there(names[start:end])
    if there:
        some = ", ".join(map(shown, there[:_CONFLICTS_SHOWN])) + (" ..." if len(there) > _CONFLICTS_SHOWN else "")
        raise Conflict(f"{len(there)} of these actors are here already, so nothing was imported: {some}.")


def read_parts(tenant: str, path: Path) -> Iterator[tuple[ActorId, Imported]]:
    """The actors in a file, as what is written at once. Blocks. Raises UsageError, naming the line."""
    with path.open("rb") as file:
        reader = _Reader(tenant)
        for number, line in enumerate(file, 1):
            try:
                yield from reader.line(number, line)
            except ValueError as error:
                raise UsageError(f"Line {number} of the export cannot be read: {error}.") from None
        if not reader.ended:
            raise UsageError("The export was cut short: its last line is missing. Nothing of it was imported.")


class _Reader:
    """Takes lines, gives parts."""

    def __init__(self, tenant: str) -> None:
        self.ended = False
        self._tenant = tenant
        self._actor: ActorId | None = None
        self._part = Imported([], True, 0, None, None)
        self._bytes = 0
        self._actors = self._keys = 0

    def line(self, number: int, line: bytes) -> Iterator[tuple[ActorId, Imported]]:
        """Raises ValueError."""
        value = wire.read(line)
        if not isinstance(value, dict) or self.ended:
            raise ValueError("it is nothing that an export has there")
        if number == 1:
            _check_head(value)
        elif "actor" in value:
            yield from self._take()
            self._begin(value)
        elif "key" in value:
            size = self._add(value)
            if self._bytes > PART_BYTES_MAX - size:
                yield from self._take()
        elif "end" in value:
            yield from self._take()
            if value["end"] != {"actors": self._actors, "keys": self._keys}:
                raise ValueError("there are not as many actors and keys before it as it says")
            self.ended = True
        else:
            raise ValueError("it is neither an actor nor a key")

    def _take(self) -> Iterator[tuple[ActorId, Imported]]:
        """What was gathered; what follows of this actor is added to it."""
        if self._actor is not None and (self._part.first or self._part.pairs):
            yield self._actor, self._part
        self._part = self._part._replace(pairs=[], first=False)
        self._bytes = 0

    def _begin(self, value: dict[str, Any]) -> None:
        actor = value["actor"]
        if not (isinstance(actor, list) and len(actor) == 2 and all(isinstance(part, str) and part for part in actor)):
            raise ValueError('"actor" has to be a type and a name')
        if len(actor[1].encode()) > LIMITS.actor_name_bytes_max:
            raise ValueError(f"an actor's name has at most {LIMITS.actor_name_bytes_max} bytes")
        self._actor = ActorId(self._tenant, *actor)
        created, alarm, dead = value.get("created_ms"), value.get("alarm_ms"), value.get("dead_alarm")
        created_ms = _time(created, "created_ms")
        if alarm is not None:
            _time(alarm, "alarm_ms")
        if dead is not None:
            _check_dead(dead)
        text = None if dead is None or alarm is not None else wire.write(dead)
        self._part = Imported([], not value.get("continued", False), created_ms, alarm, text)
        self._actors += 1

    def _add(self, value: dict[str, Any]) -> int:
        """The bytes of the pair that was added."""
        key = value["key"]
        if self._actor is None:
            raise ValueError("this key has no actor before it")
        if not isinstance(key, str) or not key:
            raise ValueError('"key" has to be a text')
        text = value.get("text")
        if "value" in value:
            wire.check(value["value"])
            text = wire.write(value["value"])
        if not isinstance(text, str):
            raise ValueError('it has neither a "value" nor a "text"')
        size = len(key.encode()) + len(text.encode())
        if len(key.encode()) > LIMITS.key_bytes_max or len(text.encode()) > LIMITS.value_bytes_max:
            raise ValueError("the key or its value is larger than an actor may store")
        self._part.pairs.append((key, text))
        self._bytes += size
        self._keys += 1
        return size


def _check_head(value: dict[str, Any]) -> None:
    version = value.get("tenure_export")
    if not isinstance(version, int):
        raise ValueError('it is not the beginning of an export, {"tenure_export": 1, ...}')
    if version > FORMAT:
        raise ValueError(f"it was written by a newer tenure (format {version}; this one knows up to {FORMAT})")


def _time(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _ALARM_MS_MAX:
        raise ValueError(f'"{name}" has to be milliseconds since 1970')
    return value


def _check_dead(value: Any) -> None:
    if not isinstance(value, dict) or set(value) != {"due_ms", "failed_ms", "error", "message"}:
        raise ValueError('"dead_alarm" has to have due_ms, failed_ms, error and message')
    _time(value["due_ms"], "due_ms")
    _time(value["failed_ms"], "failed_ms")
    if not isinstance(value["error"], str) or not isinstance(value["message"], str):
        raise ValueError('"error" and "message" of a dead alarm have to be texts')
