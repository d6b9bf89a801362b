"""The documents hold to the code: every command and option is described, and every one that is described exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from host.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(cli))
SECTIONS = {match[1]: match[2] for match in re.finditer(r"^## `tenure (.+?)`\n(.*?)(?=^## |\Z)", CLI_PAGE, re.M | re.S)}


def test_the_cli_page_has_a_section_for_each_command() -> None:
    described = {
        " ".join(word for word in title.split() if word.islower() and word[0] not in "-[") for title in SECTIONS
    }
    assert described == {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_cli_page_names_each_option(path: tuple[str, ...]) -> None:
    section = next(title + text for title, text in SECTIONS.items() if f"{title} ".startswith(" ".join(path) + " "))
    options = {
        option
        for parameter in COMMANDS[path].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }
    assert {option for option in options if f"{option}" not in section} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_the_documents_exist(path: Path) -> None:
    """Code only: `tenure …` in backticks, and lines of indented or fenced blocks that begin with it."""
    text = path.read_text()
    used = re.findall(r"(?:`|^(?: {4}|\$ |    \$ ))tenure ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)", text, re.M)
    known = {" ".join(path) for path in COMMANDS} | {" ".join(path[:length]) for path in COMMANDS for length in (1, 2)}
    unknown = {words for words in used if not any(f"{words} ".startswith(f"{name} ") for name in known)}
    assert unknown == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_in_the_documents_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z]+)`", path.read_text())) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_the_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
