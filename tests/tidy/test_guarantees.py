"""docs/guarantees.md names, for each promise, tests that exist, and leaves out no error and no limit of a function."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from host.model.errors import ACTOR_ERRORS
from host.model.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
TABLES = ROOT / "guest_sdk" / "conformance"

TEST = re.compile(r"^  `((?:\w+/)+\w+\.py)::(\w+)`$")
CASE = re.compile(r"^  `(\w+\.json): (.+)`$")


def lines(title: str = "") -> dict[str, list[str]]:
    """The lines of a section, or of the whole page: what each promises, and the references below it."""
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    found: dict[str, list[str]] = {}
    for name, text in sections:
        for item in re.findall(r"^- (.*?)(?=^- |^$|\Z)", text, re.M | re.S) if title in ("", name) else ():
            promise, *rest = item.splitlines()
            cites = [line for line in rest if line.startswith("  `") and ("::" in line or ".json: " in line)]
            found[" ".join([promise, *(line.strip() for line in rest if line not in cites)])] = cites
    return found


def is_there(reference: str) -> bool:
    if test := TEST.match(reference):
        file = ROOT / "tests" / test[1]
        return file.is_file() and bool(re.search(rf"^(?:async )?def {test[2]}\(", file.read_text(), re.M))
    if case := CASE.match(reference):
        table = TABLES / case[1]
        return table.is_file() and any(one["name"] == case[2] for one in json.loads(table.read_text())["cases"])
    return False


def test_each_promise_names_what_shows_it() -> None:
    assert len(lines()) > 50
    assert [promise for promise, cites in lines().items() if not cites] == []


def test_each_test_and_case_that_is_named_is_there() -> None:
    assert [cite for cites in lines().values() for cite in cites if not is_there(cite)] == []


def test_a_reference_to_nothing_is_seen() -> None:
    """The test of the test."""
    assert is_there("  `unit/test_actors.py::test_different_actors_overlap`")
    for wrong in (
        "  `unit/test_actors.py::test_different_actors`",
        "  `unit/test_nobody.py::test_different_actors_overlap`",
        "  `storage.json: no such sentence`",
        "  `nothing.json: deleteAll keeps the alarm`",
        "  test_different_actors_overlap",
    ):
        assert not is_there(wrong), wrong


def test_each_error_and_each_limit_of_a_function_has_a_line() -> None:
    errors, limits = " ".join(lines("Errors")), " ".join(lines("Limits"))
    assert [name for name in ACTOR_ERRORS if f"`{name}`" not in errors] == []
    assert [field.name for field in fields(Limits) if f"`{field.name}`" not in limits] == []
