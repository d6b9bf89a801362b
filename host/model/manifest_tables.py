"""How `manifest` looks at a table of TOML: typed look-ups that note a mistake and go on, so that all of them are found.

Every mistake is a sentence: where, what is wrong, what to write instead. Text from the file is shown shortened.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Collection, Iterator
from typing import Any

from host.model.ids import FUNCTION_NAME

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IDENTIFIER_CHARS_MAX = 128
TOO_MANY = "{where}: there are {count}; remove some, at most {most} are allowed."
_MISTAKES_MAX = 100


class Findings:
    """The mistakes and warnings found so far. Both are bounded: a hostile file names no more than a person reads."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []

    def mistake(self, sentence: str) -> None:
        if len(self.mistakes) < _MISTAKES_MAX:
            self.mistakes.append(sentence)

    def warn(self, sentence: str) -> None:
        if len(self.warnings) < _MISTAKES_MAX:
            self.warnings.append(sentence)


class Table(dict[str, Any]):
    """A TOML table."""

    def table(self, found: Findings, key: str, *, example: str) -> Table:
        """The table [key]; an empty one when it is absent or not a table."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            found.mistake(f"{key}: it must be a table; write [{key}] on a line of its own and {example} below it.")
            return Table()
        return Table(value)

    def tables(self, found: Findings, key: str, *, example: str) -> Iterator[tuple[str, Table]]:
        """(where, table) for each [[key]] entry."""
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            found.mistake(f"{key}: write [[{key}]], in double brackets, and {example} below it.")
            return
        for index, entry in enumerate(value, 1):
            yield f"[[{key}]] entry {index}", Table(entry)


def shown(text: str) -> str:
    """`text` in quotes, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _at(where: str, key: str) -> str:
    return f"{where} {key}" if where else key


def warn_unknown(found: Findings, where: str, table: Table, known: Collection[str]) -> None:
    for key in table:
        if key in known:
            continue
        near = difflib.get_close_matches(key[:60], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        found.warn(f"{_at(where, shown(key))} is not a key of the manifest and is ignored{hint}")


def text_key(
    found: Findings, table: Table, key: str, where: str = "", *, example: str = "", required: bool = True
) -> str | None:
    """A non-empty string, or None (with a mistake noted unless it is absent and not required)."""
    example = example or f'{key} = "..."'
    if key not in table:
        if required:
            found.mistake(f"{_at(where, key)} is missing; write {example}.")
        return None
    value = table[key]
    if not isinstance(value, str):
        found.mistake(f"{_at(where, key)} must be a string in quotes, such as {example}.")
        return None
    if not value:
        found.mistake(f"{_at(where, key)} is empty; write {example}.")
        return None
    return value


def binding_name(
    found: Findings,
    where: str,
    key: str,
    value: str,
    taken: dict[str, str] | None = None,
    reserved: Collection[str] = (),
) -> bool:
    """True if `value` is an identifier without `__` and, where `taken` is given, nobody else's binding."""
    if len(value) > IDENTIFIER_CHARS_MAX or not IDENTIFIER.fullmatch(value):
        found.mistake(
            f"{where} {key}: {shown(value)} is not an identifier; "
            f"write letters, digits and underscores, beginning with a letter, at most {IDENTIFIER_CHARS_MAX}."
        )
        return False
    if "__" in value:
        found.mistake(f"{where} {key}: {shown(value)} has two underscores in a row; write {_single(value)!r} instead.")
        return False
    if value in reserved:
        found.mistake(f"{where} {key}: {value!r} is a property that every `env` has; choose another name.")
        return False
    if taken is not None:
        if value in taken:
            found.mistake(f"{where} {key}: {shown(value)} is already used by {taken[value]}; each name is used once.")
            return False
        taken[value] = where
    return True


def _single(value: str) -> str:
    return re.sub("__+", "_", value)


def read_name(found: Findings, root: Table) -> str:
    name = text_key(found, root, "name", example='name = "account"')
    if name is not None and not FUNCTION_NAME.fullmatch(name):
        found.mistake(
            f"name: {shown(name)} cannot be a function's name; write at most 40 lower-case letters, digits and "
            "hyphens, beginning with a letter and not ending with a hyphen."
        )
    return name or ""


def read_compatibility_date(found: Findings, root: Table) -> str:
    """The date as YYYY-MM-DD text. TOML's own date form is accepted as well."""
    key, example = "compatibility_date", 'compatibility_date = "2026-05-01"'
    if key not in root:
        found.warn(f"{key} is missing; write {example} so that the runtime stays as it is today.")
        return ""
    value = root[key]
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return datetime.date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    found.mistake(f"{key}: {shown(str(value))} is not a date; write it as year-month-day, such as {example}.")
    return ""
