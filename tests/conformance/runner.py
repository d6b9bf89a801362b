"""Holds an SDK's conformance guest to the tables of guest_sdk/conformance, on the host's real rooms.

The tables say what is called and what comes of it; `guest_sdk/conformance/README.md` describes their form. A case runs
on rooms and an engine of its own, under a clock that moves only when the case says so. What an SDK brings is one
project: its guest.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from host.gateway.app import Gateway
from host.model.clock import ManualClock
from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.limits import LIMITS, Limits
from host.storage.keys import state_prefix, state_range
from host.storage.ports import Engine
from tests.kit.bundles import ROOT
from tests.kit.rooms import DEADLINE_S, TENANT, Rooms, open_rooms, version_of

CONFORMANCE = ROOT / "guest_sdk" / "conformance"
VECTORS = CONFORMANCE / "codec.json"
TABLES = sorted(path for path in CONFORMANCE.glob("*.json") if path != VECTORS)
STEP_S = 0.25
PAUSE_S = 0.001
IDLE_TICKS = 20
"""Turns of the loop in which nothing has happened: more than any message between the rooms takes."""

URL = "http://conformance.localhost/run"

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One line of a table. `events` happen one after the other; `state` is what the named actors keep at the end."""

    topic: str
    name: str
    events: list[Json]
    state: dict[str, list[list[Any]]]
    limits: Limits

    def __str__(self) -> str:
        return f"{self.topic}: {self.name}"


def cases() -> list[Case]:
    """All cases of all tables. Raises ValueError when a table has a key that nobody knows."""
    return [_case(table.stem, raw) for table in TABLES for raw in json.loads(table.read_text())["cases"]]


def _case(topic: str, raw: Json) -> Case:
    if unknown := raw.keys() - {"name", "do", "state", "limits"}:
        raise ValueError(f"{topic}: {raw.get('name')}: unknown keys {sorted(unknown)}")
    limits = replace(LIMITS, **raw.get("limits", {}))
    return Case(topic, raw["name"], expanded(raw["do"]), expanded(raw.get("state", {})), limits)


def expanded(value: Any) -> Any:
    """`value` with each {"@repeat": [text, count]} replaced by the text that it stands for."""
    if isinstance(value, list):
        return [expanded(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"@repeat"}:
        text, count = value["@repeat"]
        return text * count
    return {key: expanded(one) for key, one in value.items()}


def mismatch(expected: Any, actual: Any, place: str = "$") -> str:
    """Where `actual` is not what a table expects, or "". Types count: 1 is neither 1.0 nor true.

    An expectation {"threw": name, ...} names only what matters of an error; its `message` is a pattern to be found.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        if "threw" in expected:
            return _error_mismatch(expected, actual, place)
        if list(expected) != list(actual):
            return f"{place}: keys {list(actual)} instead of {list(expected)}"
        pairs = [(f"{place}.{key}", expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(f"{place}[{n}]", one, other) for n, (one, other) in enumerate(zip(expected, actual, strict=True))]
    elif type(expected) is type(actual) and not isinstance(expected, dict | list) and expected == actual:
        return ""
    else:
        return f"{place}: {_short(actual)} instead of {_short(expected)}"
    return next((found for where, one, other in pairs if (found := mismatch(one, other, where))), "")


def _error_mismatch(expected: Json, actual: Json, place: str) -> str:
    for key, value in expected.items():
        found = actual.get(key)
        if not (isinstance(found, str) and re.search(value, found) if key == "message" else found == value):
            return f"{place}.{key}: {_short(found)} instead of {_short(value)}"
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


class Run:
    """A case under way on the guest in `project`. Raises AssertionError at the first event that goes another way."""

    def __init__(self, project: Path, case: Case, engine: Engine) -> None:
        self._case = case
        self._engine = engine
        self._clock = ManualClock()
        self._version = version_of(project, limits=case.limits)
        self._stack = AsyncExitStack()
        self._rooms: Rooms

    async def whole(self) -> None:
        try:
            await self._open()
            for number, event in enumerate(self._case.events):
                task = asyncio.ensure_future(self._event(event, f"event {number}"))
                if "takes_s" in event:
                    await self._advance(event["takes_s"])
                await asyncio.wait_for(task, DEADLINE_S)
            for actor, pairs in self._case.state.items():
                assert not (found := mismatch(pairs, self._stored(actor))), f"the state of {actor}: {found}"
        finally:
            await self._stack.aclose()

    async def _open(self) -> None:
        rooms = open_rooms(self._engine, self._clock, version=self._version)
        self._rooms = await self._stack.enter_async_context(rooms)

    async def _event(self, event: Json, place: str) -> None:
        if "together" in event:
            parts = enumerate(event["together"])
            await asyncio.gather(*(self._event(one, f"{place}, part {number}") for number, one in parts))
        elif "advance_s" in event:
            await self._advance(event["advance_s"])
        elif "restart" in event:
            await self._rooms.committer.drain()
            await self._stack.aclose()
            await self._open()
        elif "http" in event:
            await self._http(event, place)
        else:
            await self._call(event, place)

    async def _advance(self, seconds: float) -> None:
        """Move the clock in steps, and only when nothing runs, so that what is due at a time happens at that time."""
        await self._settle()
        while seconds > 0:
            self._clock.advance(min(seconds, STEP_S))
            seconds -= STEP_S
            await self._settle()

    async def _settle(self) -> None:
        """Until every guest has ended or waits for the clock. A slow machine may have one on the background thread."""
        scheduler, idle = self._rooms.scheduler, 0
        while idle < IDLE_TICKS:
            burning = bool(scheduler._burner._held)
            await asyncio.sleep(PAUSE_S if burning else 0)
            idle = 0 if burning or scheduler._scheduled else idle + 1

    async def _call(self, event: Json, place: str) -> None:
        """A call as the host's own callers make it: `gives` is a wire value."""
        method, arguments = event.get("method", "run"), event.get("arguments", [event.get("steps", [])])
        future = self._rooms.invoke(event["actor"], method, *arguments, type=event.get("type", "Probe"))
        try:
            actual = await future
        except ActorError as error:
            actual = {"threw": error.name, "message": error.detail, "cause": error.cause or None}
        expected: Any = event.get("fails", event.get("gives"))
        assert ("fails" in event) == (isinstance(actual, dict) and "threw" in actual), f"{place}: {_short(actual)}"
        assert "gives" not in event or not (found := mismatch(expected, actual)), f"{place}: {found}"
        assert "fails" not in event or not (found := _error_mismatch(expected, actual, "$")), f"{place}: {found}"

    async def _http(self, event: Json, place: str) -> None:
        """A request to the handler through the gateway: `gives` is JSON, `code` the code of the host's own errors."""
        gateway = Gateway(lambda _label: self._version, self._rooms.handlers.fetch, "localhost")
        transport = httpx.ASGITransport(app=gateway)
        async with httpx.AsyncClient(transport=transport) as client:
            reply = await client.post(URL, json=event["http"])
        body = reply.json()
        assert reply.status_code == event.get("status", 200), f"{place}: {reply.status_code} {_short(body)}"
        assert "x-request-id" in reply.headers, place
        assert "gives" not in event or not (found := mismatch(event["gives"], body)), f"{place}: {found}"
        assert "code" not in event or [one["code"] for one in body["errors"]] == [event["code"]], f"{place}: {body}"
        assert "retry_after" not in event or "retry-after" in reply.headers, f"{place}: no retry-after"
        assert "lacks" not in event or event["lacks"] not in reply.text, f"{place}: {reply.text}"

    def _stored(self, actor: str) -> list[list[Any]]:
        """What the actor keeps, as [key, wire value] in the order of the keys."""
        identity = ActorId(TENANT, "Probe", actor)
        cut = len(state_prefix(identity))
        return [[key[cut:].decode(), json.loads(value)] for key, value in self._engine.scan(*state_range(identity))]
