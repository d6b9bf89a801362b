"""Wire values in the host: `guest_sdk/conformance/codec.md` says what they are. Guests store and send their text.

The host passes them on as they are; only what comes from people (edits, imports, arguments) is looked at here, so that
no guest finds a value that it cannot read. What stays unchecked is whether a regular expression is one.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

DEPTH_MAX = 256

_NUMBERS = ("NaN", "Infinity", "-Infinity", "-0")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_FLAGS = re.compile(r"(?!.*(.).*\1)(?!.*u.*v)(?!.*v.*u)[dgimsuvy]*")
_SIZES: Mapping[str, int] = {
    **dict.fromkeys(("ArrayBuffer", "DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray"), 1),
    **dict.fromkeys(("Int16Array", "Uint16Array", "Float16Array"), 2),
    **dict.fromkeys(("Int32Array", "Uint32Array", "Float32Array"), 4),
    **dict.fromkeys(("Float64Array", "BigInt64Array", "BigUint64Array"), 8),
}
_HALVES = re.compile("[\ud800-\udfff]")


def read(text: str | bytes) -> Any:
    """The JSON value of a wire value's text, tags as they are. Raises ValueError for a text that is no JSON."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep") from None


def write(value: Any) -> str:
    """The text of such a JSON value: compact, and valid UTF-8 whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def check(value: Any, place: str = "$") -> None:
    """Raises ValueError, naming the place, when a JSON value is no wire value."""
    _check(value, place, 0)


def _check(value: Any, place: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]", depth + 1)
    elif isinstance(value, dict):
        tag = next((name for name in value if name.startswith("$")), None)
        if tag is None:
            _check_items(value, place, depth)
        elif len(value) > 1 or tag not in _TAGS:
            raise ValueError(f'{place}: a key that begins with "$" is a tag; {tag[:20]!r} is none that stands here')
        else:
            _check_tag(tag, value[tag], place, depth)


def _check_items(value: dict[str, Any], place: str, depth: int) -> None:
    for name, item in value.items():
        _check(item, f"{place}.{name[:80]}", depth + 1)


def _check_tag(tag: str, content: Any, place: str, depth: int) -> None:
    if not _TAGS[tag](content):
        raise ValueError(f"{place}: the content of {tag} is malformed")
    if tag == "$object":
        _check_items(content, place, depth)
    elif tag in ("$map", "$set"):
        _check(content, place, depth)


def _is_pair(content: Any) -> bool:
    return isinstance(content, list) and len(content) == 2


def _is_bytes(content: Any) -> bool:
    if not _is_pair(content) or not all(isinstance(part, str) for part in content) or content[0] not in _SIZES:
        return False
    try:
        return not len(base64.b64decode(content[1], validate=True)) % _SIZES[content[0]]
    except (binascii.Error, ValueError):
        return False


def _is_regexp(content: Any) -> bool:
    texts = _is_pair(content) and all(isinstance(part, str) for part in content)
    return texts and _FLAGS.fullmatch(content[1]) is not None


def _is_number(content: Any) -> bool:
    return isinstance(content, int | float) and not isinstance(content, bool)


_TAGS: Mapping[str, Any] = {
    "$undefined": lambda content: _is_number(content) and content == 0,
    "$number": lambda content: isinstance(content, str) and content in _NUMBERS,
    "$bigint": lambda content: isinstance(content, str) and _INTEGER.fullmatch(content) is not None,
    "$date": lambda content: content is None or _is_number(content),
    "$map": lambda content: isinstance(content, list) and all(map(_is_pair, content)),
    "$set": lambda content: isinstance(content, list),
    "$regexp": _is_regexp,
    "$bytes": _is_bytes,
    "$object": lambda content: isinstance(content, dict),
}


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond what a number holds")
    return number
