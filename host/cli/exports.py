"""The file of an export, as the CLI writes it and takes it apart: docs/actor-export.md.

A host takes only so much at once, so a large file is imported in several pieces, each an export of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from host.cli.console import CliError

PIECE_BYTES_MAX = 24 << 20
CUT = "The export was cut short: its last line is missing."
FORMAT = 1


def save(pieces: Iterable[bytes], target: Path | None, stdout: IO[bytes], told: Callable[[int], None]) -> None:
    """Write an export to a file, which appears when it is whole, or to stdout. Raises CliError when it was cut."""
    if target is None:
        _copy(pieces, stdout, told)
        return
    draft = target.with_name(target.name + ".partial")
    try:
        with draft.open("wb") as file:
            _copy(pieces, file, told)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise CliError(f"Cannot write {target}: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)


def _copy(pieces: Iterable[bytes], file: IO[bytes], told: Callable[[int], None]) -> None:
    ending = b""
    for piece in pieces:
        file.write(piece)
        told(len(piece))
        ending = (ending + piece)[-200:]
    file.flush()
    if not ending.endswith(b"\n") or not ending.splitlines()[-1].startswith(b'{"end":'):
        raise CliError(CUT, "The host's log says why. Try again.")


def pieces(path: Path, size_max: int = PIECE_BYTES_MAX) -> Iterator[bytes]:
    """The file as exports of at most about that size. Raises CliError, before the last piece if the file was cut."""
    try:
        with path.open("rb") as file:
            yield from _Splitter(file.readline(), size_max).split(file)
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.") from None
    except ValueError as error:
        raise CliError(f"{path} is not an export that can be imported: {error}.") from None


class _Splitter:
    def __init__(self, head: bytes, size_max: int) -> None:
        self._head = head
        self._size_max = size_max
        self._lines: list[bytes] = []
        self._size = self._actors = self._keys = 0

    def split(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Raises ValueError, CliError."""
        head = _object(self._head)
        if not isinstance(head.get("tenure_export"), int):
            raise ValueError('it does not begin with {"tenure_export": 1, ...}')
        if head["tenure_export"] > FORMAT:
            raise ValueError(f"it is of format {head['tenure_export']}, and this tenure knows up to {FORMAT}")
        actor: dict[str, Any] = {}
        total = {"actors": 0, "keys": 0}
        for line in lines:
            value = _object(line)
            if "end" in value:
                if value["end"] != total:
                    raise ValueError("there are not as many actors and keys in it as its last line says")
                yield self._piece()
                return
            if "actor" in value:
                actor = value
            if self._size and self._size + len(line) > self._size_max:
                yield self._piece()
                if "actor" not in value:
                    self._add(json.dumps({**actor, "continued": True}).encode() + b"\n", is_actor=True)
            self._add(line, is_actor="actor" in value)
            total["actors" if "actor" in value else "keys"] += 1
        raise CliError(CUT, "Nothing of its end was imported. Export again.")

    def _add(self, line: bytes, *, is_actor: bool) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._actors += is_actor
        self._keys += not is_actor

    def _piece(self) -> bytes:
        end = json.dumps({"end": {"actors": self._actors, "keys": self._keys}}).encode()
        piece = b"".join((self._head, *self._lines, end, b"\n"))
        self._lines.clear()
        self._size = self._actors = self._keys = 0
        return piece


def _object(line: bytes) -> dict[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a line of it is no JSON object")
    return value
