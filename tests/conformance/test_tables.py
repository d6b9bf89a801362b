"""Every SDK holds to every line of the tables in guest_sdk/conformance. A new SDK adds its guest to `GUESTS`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from host.actors import turn
from host.model.errors import CodecError
from host.model.ids import ActorId
from host.model.message import CallContext
from host.storage.rocks import RocksEngine
from tests.conformance.runner import CONFORMANCE, TABLES, VECTORS, Case, Run, cases, mismatch
from tests.kit.rooms import DEADLINE_S, TENANT, Rooms, compiled, open_rooms, version_of

GUESTS = {"typescript": CONFORMANCE / "typescript"}
CASES = cases()
README = (CONFORMANCE / "README.md").read_text()


@pytest.fixture(scope="module", params=sorted(GUESTS))
def guest(request: pytest.FixtureRequest) -> Path:
    project = GUESTS[request.param]
    compiled(project)
    return project


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_guest_does_what_the_table_says(guest: Path, case: Case, tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db")
    try:
        await Run(guest, case, engine).whole()
    finally:
        engine.close()


async def answer(rooms: Rooms, method: bytes, arguments: bytes) -> object:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    work = turn.invoke(method, arguments, CallContext(), future.set_result)
    rooms.directory.deliver(ActorId(TENANT, "Probe", "a"), work)
    return await asyncio.wait_for(future, DEADLINE_S)


async def test_values_of_the_wire_form_come_back_as_they_went(guest: Path) -> None:
    """Through arguments and results, and through storage, byte by byte."""
    async with open_rooms(version=version_of(guest)) as rooms:
        for vector in json.loads(VECTORS.read_text())["values"]:
            text, exact = vector["text"].encode(), not vector.get("reads")
            for method, arguments, form in (
                (b"echo", b"[%s]", b"%s"),
                (b"run", b'[[["put","k",%s],["get","k"]]]', b'[{"$undefined":0},%s]'),
                (b"run", b'[[["call","PROBE","b","echo",[%s]]]]', b"[%s]"),
            ):
                got = await answer(rooms, method, arguments % text)
                assert isinstance(got, bytes), (vector["name"], got)
                assert not exact or got == form % text, vector["name"]


async def test_texts_that_are_no_wire_form_are_refused(guest: Path) -> None:
    async with open_rooms(version=version_of(guest)) as rooms:
        for vector in json.loads(VECTORS.read_text())["refused"]:
            got = await answer(rooms, b"echo", b"[%s]" % vector["text"].encode())
            assert isinstance(got, CodecError), vector["name"]


def test_each_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(map(str, CASES)).items() if count > 1] == []


def test_the_readme_names_each_table_and_each_word_that_a_table_uses() -> None:
    words: set[str] = set()

    def collect(steps: object) -> None:
        """A step is recognised by its place: the lists below `steps` and `http`, and steps inside steps."""
        if isinstance(steps, list):
            if steps and isinstance(steps[0], str):
                words.add(steps[0])
                nested = {"try": 1, "all": 1, "transaction": 1, "block": 1}.get(steps[0])
                if nested is not None:
                    collect(steps[nested])
            else:
                for step in steps:
                    collect(step)

    for case in CASES:
        for event in case.events:
            for one in event.get("together", [event]):
                collect(one.get("steps", one.get("http", [])))
    assert [word for word in sorted(words) if f"`{word}" not in README] == []
    assert [table.name for table in TABLES if f"`{table.name}`" not in README] == []


def test_the_runner_sees_what_differs() -> None:
    """The test of the test: a runner that is content with anything would pass every guest."""
    for expected, actual in (
        (1, True),
        (1, 1.0),
        ([1], [1, 2]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"$map": [["a", 1], ["b", 2]]}, {"$map": [["b", 2], ["a", 1]]}),
        ({"threw": "RangeError"}, {"threw": "TypeError", "message": ""}),
        ({"threw": "RangeError", "message": "^no$"}, {"threw": "RangeError", "message": "noo"}),
        ({"threw": "RangeError"}, {"gave": 1}),
        (None, {"$undefined": 0}),
    ):
        assert mismatch(expected, actual), (expected, actual)
    for same in (None, 1, 1.5, True, "x", [1, [2]], {"$map": [["a", 1]]}):
        assert not mismatch(same, same)
    assert not mismatch({"threw": "E", "message": "^n"}, {"threw": "E", "message": "no", "cause": None})
