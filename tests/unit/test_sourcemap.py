"""Source maps: places are found as the standard has them, hostile ones are refused, and stacks are mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from host.registry.records import DEFAULT_TENANT
from host.registry.sourcemap import BYTES_MAX, SECTION, SourceMap, complaint, find_section
from host.registry.stacks import mapped
from tests.unit.registry_kit import Host, bundle, component, manifest

HEAD = b"\0asm\x0d\0\x01\0"


def map_of(mappings: str, **others: Any) -> SourceMap:
    return SourceMap(json.dumps({"version": 3, "sources": ["a.ts", "b.ts"], "mappings": mappings, **others}).encode())


def section(data: bytes, size: int | None = None) -> bytes:
    body = bytes([len(SECTION)]) + SECTION + data
    number, out = len(body) if size is None else size, bytearray(b"\0")
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number]) + body


def test_a_place_is_that_of_the_segment_before_it() -> None:
    # line 1: column 0 is a.ts 0:0, 10 is b.ts 2:4, 12 has no source; line 3: column 2 is b.ts 1:0
    found = map_of("AAAA,UCEI,E;;EADJ")
    assert [found.find(1, column) for column in (1, 10, 11, 12)] == [
        ("a.ts", 1, 1), ("a.ts", 1, 1), ("b.ts", 3, 5), ("b.ts", 3, 5),
    ]  # fmt: skip
    assert found.find(1, 13) is None
    assert found.find(2, 1) is None
    assert found.find(3, 1) is None
    assert found.find(3, 3) == ("b.ts", 2, 1)
    assert found.find(4, 1) is None
    assert found.find(0, 1) is None


def test_numbers_may_have_many_digits() -> None:
    # gqjG is 100,000: column, source 0, line, column
    assert map_of("ggqDAgqjGgqjG").find(1, 60_000) is not None


@pytest.mark.parametrize(
    ("mappings", "words"),
    [
        ("AAAA,!", "base-64"),
        ("g", "within a number"),
        ("AA", "too few"),
        ("AAAAAA", "too many"),
        ("AEAA", "leads nowhere"),
        ("AADA", "leads nowhere"),
        ("A" + "g" * 20 + "A", "base-64"),
        (";" * 300_000, "more than 300,000"),
        ("A," * 300_000, "more than 300,000"),
    ],
)
def test_what_is_no_mapping_is_refused(mappings: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        map_of(mappings)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 3, "sources": [1]}', b'{"version":3,"sources":[]}']
)
def test_what_is_no_map_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SourceMap(text)


def test_a_component_carries_its_map_in_a_section(tmp_path: Path) -> None:
    file = tmp_path / "component.wasm"
    file.write_bytes(HEAD + b"\x01\x03abc" + b"\0\x02\x01x" + section(b"{}" * 200))
    assert find_section(file) == b"{}" * 200
    file.write_bytes(HEAD + b"\x01\x03abc")
    assert find_section(file) is None


@pytest.mark.parametrize("damaged", [b"\0", b"\0" + b"\xff" * 9, b"\x01\0" * 10_001])
def test_a_damaged_component_has_no_map(tmp_path: Path, damaged: bytes) -> None:
    file = tmp_path / "component.wasm"
    file.write_bytes(HEAD + damaged)
    assert find_section(file) is None
    assert complaint(file) is None


async def test_a_map_that_cannot_be_read_is_a_warning_of_the_version(tmp_path: Path) -> None:
    host = await Host(tmp_path).start()
    function = await host.registry.create_function(DEFAULT_TENANT, "account")
    for data, size, words in ((b"junk", None, "cannot be read"), (b"", BYTES_MAX + 1, "larger than 4 MiB")):
        wasm = HEAD + section(data, size) + component("Account")[len(HEAD) :]
        (warning,) = (await host.begin(function, bundle(manifest("Account"), wasm))).warnings
        assert words in warning
    await host.stop()


def test_frames_of_a_stack_get_their_places_and_the_rest_stays() -> None:
    stack = (
        "Account.deposit threw RangeError: at noon:1:1\n"
        "    at deepest (component.js:1:1)\n"
        "    at async component.js:1:11\n"
        "    at native\n"
        "    at far (component.js:99:1)\n"
    )
    assert mapped(stack, map_of("AAAA,UCEI")) == (
        "Account.deposit threw RangeError: at noon:1:1\n"
        "    at deepest (a.ts:1:1)\n"
        "    at async b.ts:3:5\n"
        "    at native\n"
        "    at far (component.js:99:1)\n"
    )
