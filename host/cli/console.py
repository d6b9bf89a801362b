"""What the CLI says: results on stdout, progress and complaints on stderr.

Results are what a script wants to read, so nothing else goes to stdout. A stream that cannot show UTF-8 gets plain
ASCII instead of a UnicodeEncodeError. Colour, bars and spinners appear only when stderr is a terminal; otherwise
each step is one line when it ends, which is what a CI log wants.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

_ASCII = {"✅": "[ok]", "✗": "[failed]", "→": "->", "…": "...", "•": "*", "—": "-"}


class CliError(click.ClickException):
    """Something the user can put right. `message` says what is wrong, `hint` what to do next. Exit code 1."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "", *, more: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.more = tuple(more)

    def show(self, file: IO[Any] | None = None) -> None:
        say(f"Error: {self.message}", to=sys.stderr)
        for line in self.more:
            say(f"  • {line}", to=sys.stderr)
        if self.hint:
            say(self.hint, to=sys.stderr)


def say(text: str = "", to: IO[str] | None = None) -> None:
    """One line (or several) of text, in ASCII when the stream is not UTF-8."""
    stream = sys.stdout if to is None else to
    stream.write(_fit(text, stream) + "\n")
    stream.flush()


def warn(text: str) -> None:
    say(f"Warning: {text}", to=sys.stderr)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be taken back, unless `yes` was said already. Raises Abort, CliError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("This needs a yes, and there is no terminal to ask on.", "Add --yes.")
    click.confirm(question, abort=True, err=True)


def say_json(value: object) -> None:
    """One JSON document on stdout; ASCII, so that it is the same in every locale."""
    say(json.dumps(value, indent=2))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: aligned columns of text, which stay readable and greppable when piped.

    One that is wider than the terminal is shown row by row, a line for each cell: nothing is cut, and can be copied.
    """
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    if rows and sys.stdout.isatty() and sum(widths) + 2 * (len(widths) - 1) > shutil.get_terminal_size().columns:
        _say_rows(columns, rows)
        return
    for row in (columns, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _say_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    title = max(map(len, columns))
    for number, row in enumerate(rows):
        if number:
            say()
        for name, cell in zip(columns, row, strict=True):
            say(f"{name:<{title}}  {cell}".rstrip())


def counted(count: int, noun: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Bytes for people: `812 B`, `1.1 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


@contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """One step of long work, on stderr. Yields a function that sets the detail shown beside the title.

    On a terminal the title spins until the step ends. When the step succeeds, its line says how long it took; when it
    raises, the error speaks for itself.
    """
    began = time.monotonic()
    detail = ""

    def tell(text: str) -> None:
        nonlocal detail
        detail = text
        if status is not None:
            status.update(f"{title} {text}")

    status = None
    if sys.stderr.isatty() and _is_utf8(sys.stderr):
        from rich.console import Console

        status = Console(stderr=True, highlight=False).status(title)
        status.start()
    try:
        yield tell
    finally:
        if status is not None:
            status.stop()
    say(f"  {title:<10} {detail}{' in ' if detail else ''}{time.monotonic() - began:.1f} s", to=sys.stderr)


@contextmanager
def transfer(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A step that moves `total` bytes. Yields a function that is told how many bytes have gone since it last heard."""
    if not (sys.stderr.isatty() and _is_utf8(sys.stderr)):
        with step(title) as tell:
            yield lambda _count: None
            tell(size(total))
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        began = time.monotonic()
        yield lambda count: progress.advance(task, count)
    say(f"  {title:<10} {size(total)} in {time.monotonic() - began:.1f} s", to=sys.stderr)


def _is_utf8(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").startswith("utf8")


def _fit(text: str, stream: IO[str]) -> str:
    if _is_utf8(stream):
        return text.encode("utf-8", "replace").decode()
    for sign, plain in _ASCII.items():
        text = text.replace(sign, plain)
    return text.encode("ascii", "replace").decode()
