"""The web platform's own test data, as far as npm packages carry it, against a real guest on the host's real rooms.

The packages are the SDK's development dependencies; one guest (tests/guests/platform) runs all of them. What is
expected to fail is named here with its reason, and a test that passes against that expectation fails as well. The pass
rates are printed (`pytest -s`) and written in docs/web-apis.md, which is held to them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from host.model.message import HttpRequest, body_from_wire
from tests.kit.bundles import ROOT, SDK
from tests.kit.rooms import DEADLINE_S, open_rooms, version_of

GUEST = ROOT / "tests" / "guests" / "platform"
PACKAGES = SDK / "node_modules"
URLS = PACKAGES / "@wordpress" / "url" / "src" / "test" / "fixtures" / "wpt-data.json"
HEADERS = PACKAGES / "fetch-headers" / "test" / "header-setcookie.any.js"
LABELS = PACKAGES / "whatwg-encoding" / "lib" / "labels-to-names.json"

DECODED = {"UTF-8", "UTF-16LE", "windows-1252"}
NO_PUNYCODE = "the host's parser keeps an ASCII label that begins with xn-- and is no Punycode"
DIFFERENT: dict[str, dict[str, str]] = {
    "urls": {
        "file://xn--/p": NO_PUNYCODE,
        "http://10.0.0.xn--pokxncvks": NO_PUNYCODE,
        "http://a.b.c.xn--pokxncvks": NO_PUNYCODE,
    },
    "labels": {},
    "scripts": {},
}
"""By table and name of the test: why it is expected to fail. Labels of encodings that are not decoded come on top."""

Results = dict[str, list[tuple[str, str]]]


def asked() -> dict[str, Any]:
    return {
        "urls": json.loads(URLS.read_text()),
        "labels": list(json.loads(LABELS.read_text()).items()),
        "scripts": [HEADERS.read_text()],
    }


def expected_failures() -> dict[str, dict[str, str]]:
    missing = {
        label: f"{encoding} is not decoded: only {', '.join(sorted(DECODED))} are"
        for label, encoding in json.loads(LABELS.read_text()).items()
        if encoding not in DECODED
    }
    return {**DIFFERENT, "labels": {**DIFFERENT["labels"], **missing}}


def run(rows: dict[str, Any]) -> Results:
    """What the guest says of `rows`, asked over its handler."""
    version = version_of(GUEST)

    async def scenario() -> Results:
        async with open_rooms(version=version) as rooms:
            request = HttpRequest("POST", "http://platform.localhost/", b"", json.dumps(rows).encode(), False, "req-1")
            reply = await asyncio.wait_for(rooms.handlers.fetch(version, request), DEADLINE_S)
            found: Results = json.loads(body_from_wire(reply.body, reply.binary))
            return found

    return asyncio.run(scenario())


@pytest.fixture(scope="module")
def results() -> Results:
    return run(asked())


def rate(table: list[tuple[str, str]]) -> str:
    return f"{sum(not reason for _, reason in table)} of {len(table)}"


@pytest.mark.parametrize("table", sorted(DIFFERENT))
def test_a_guest_passes_the_platforms_own_tests_but_for_those_that_are_named(results: Results, table: str) -> None:
    print(f"{table}: {rate(results[table])}")
    failed = {name: reason for name, reason in results[table] if reason}
    known = expected_failures()[table]
    assert {name: failed[name] for name in failed.keys() - known.keys()} == {}, "these fail and are not named"
    assert known.keys() - failed.keys() == set(), "these are named and pass"


def test_each_test_that_the_packages_carry_was_run(results: Results) -> None:
    sent = asked()
    assert [name for name, _ in results["urls"]] == [row["input"] for row in sent["urls"]]
    assert [name for name, _ in results["labels"]] == [label for label, _ in sent["labels"]]
    assert len(results["scripts"]) == HEADERS.read_text().count("\ntest(")
    assert min(map(len, results.values())) >= 15


def test_the_table_of_the_documentation_says_the_rates_that_were_seen(results: Results) -> None:
    text = (ROOT / "docs" / "web-apis.md").read_text()
    assert [table for table in sorted(DIFFERENT) if f"| {rate(results[table])} |" not in text] == []


def test_a_wrong_expectation_is_seen() -> None:
    """The test of the test: the guest's own checks tell a wrong row from a right one."""
    wrong = {
        "urls": [{"input": "http://a/", "failure": True}, {"input": "http://a b/"}],
        "labels": [["utf-8", "UTF-16LE"], ["no-such-label", "UTF-8"]],
        "scripts": ["test(() => assert_equals(1, 2), 'wrong'); test(() => assert_array_equals([1], [1, 2]), 'too')"],
    }
    assert {table: len([1 for _, reason in rows if reason]) for table, rows in run(wrong).items()} == {
        "urls": 2,
        "labels": 2,
        "scripts": 2,
    }
