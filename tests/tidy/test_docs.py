"""The documents hold to the code: every command and option is described, and every one that is described exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click

from host.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text()
DOCUMENTS = {path: path.read_text() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(cli))
SECTIONS = {match[1]: match[2] for match in re.finditer(r"^## `tenure (.+?)`\n(.*?)(?=^## |\Z)", CLI_PAGE, re.M | re.S)}


def words(title: str) -> tuple[str, ...]:
    """The command in a section's title: what comes before its arguments and options."""
    return tuple(takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), title.split()))


def test_the_cli_page_has_a_section_for_each_command() -> None:
    assert sorted(map(words, SECTIONS)) == sorted(COMMANDS)


def test_the_cli_page_names_each_option_where_its_command_is() -> None:
    missing = [
        (*words(title), option)
        for title, text in SECTIONS.items()
        for parameter in COMMANDS[words(title)].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--") and option not in title + text
    ]
    assert missing == []


def test_commands_in_the_documents_exist() -> None:
    """Looks at `tenure ...` in backticks, and at lines of code blocks that begin with it."""
    used = {
        (path.name, match[1])
        for path, text in DOCUMENTS.items()
        for match in re.finditer(r"(?:`|^(?: {4}|\$ | {4}\$ ))tenure ([a-z][a-z -]*[a-z])", text, re.M)
    }
    known = {" ".join(command[:length]) for command in COMMANDS for length in (1, 2, 3)}
    assert [item for item in used if not any(f"{item[1]} ".startswith(f"{command} ") for command in known)] == []


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {name for text in DOCUMENTS.values() for name in re.findall(r"`make ([a-z]+)`", text)} - targets == set()


def test_links_between_the_documents_lead_somewhere() -> None:
    broken = [
        (str(path), link)
        for path, text in DOCUMENTS.items()
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)
        if not (path.parent / link).exists()
    ]
    assert broken == []
