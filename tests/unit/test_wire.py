"""What the host takes for a wire value, held against the vectors that every SDK is held against."""

from __future__ import annotations

import json

import pytest

from host.model import wire
from tests.kit.bundles import ROOT

VECTORS = json.loads((ROOT / "guest_sdk" / "conformance" / "codec.json").read_text())
NOT_LOOKED_AT = "a regular expression that is none"


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["name"])
def test_what_an_sdk_writes_is_a_wire_value_and_keeps_its_text(vector: dict[str, str]) -> None:
    value = wire.read(vector["text"])
    wire.check(value)
    assert wire.read(wire.write(value)) == value
    wire.write(value).encode()  # has UTF-8
    if not vector.get("reads"):
        assert len(wire.write(value)) == len(vector["text"])


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_what_no_sdk_reads_is_no_wire_value(vector: dict[str, str]) -> None:
    if vector["name"] == NOT_LOOKED_AT:
        wire.check(wire.read(vector["text"]))
        return
    with pytest.raises(ValueError, match=r"\S"):
        wire.check(wire.read(vector["text"]))


def test_the_place_of_a_mistake_is_named() -> None:
    with pytest.raises(ValueError, match=r"^\$\.items\[1\]\.when: the content of \$date is malformed$"):
        wire.check({"items": [1, {"when": {"$date": "today"}}]})
    with pytest.raises(ValueError, match=r"^\$: a key that begins with"):
        wire.check({"$price": 1})


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "[" * 100_000, "", '{"a":1}x'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        wire.read(text)


def test_a_value_is_not_nested_deeper_than_an_sdk_would_write_it() -> None:
    def nested(depth: int) -> object:
        return [nested(depth - 1)] if depth else 0

    wire.check(nested(wire.DEPTH_MAX))
    with pytest.raises(ValueError, match="256 deep"):
        wire.check(nested(wire.DEPTH_MAX + 1))
