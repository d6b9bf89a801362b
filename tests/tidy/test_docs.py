"""The documents hold to the code: every command and option is described, and every one that is described exists."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import click
import pytest

from host.cli.examples import EXAMPLES, commands
from host.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text()
DOCUMENTS = {path: path.read_text() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}


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


def test_the_cli_page_names_each_argument_where_its_command_is() -> None:
    missing = [
        (*words(title), parameter.make_metavar(context))
        for title in SECTIONS
        for context in [click.Context(COMMANDS[words(title)])]
        for parameter in COMMANDS[words(title)].params
        if isinstance(parameter, click.Argument)
        and not isinstance(parameter.type, click.Choice)
        and not set(alternatives(parameter.make_metavar(context))) & set(re.findall(r"[A-Z_]+", title))
    ]
    assert missing == []


def alternatives(metavar: str) -> list[str]:
    """A function is F on that page, as everywhere."""
    name = re.findall(r"[A-Z_]+", metavar)[0]
    return [name, *(["F"] if name == "FUNCTION" else [])]


def test_every_command_that_reads_has_json() -> None:
    readers = {"list", "inspect", "status", "metrics", "deployments", "logs", "types", "instances", "state"}
    without = {path for path in COMMANDS if path[-1] in readers if not has_json(path)}
    assert without == {("types",)}, "it writes a file; what else reads has --json"


def has_json(path: tuple[str, ...]) -> bool:
    return any("--json" in parameter.opts for parameter in COMMANDS[path].params)


def test_the_commands_of_the_original_are_there() -> None:
    words = """serve, dev, auth api-key set|status|logout, new-func, ship, list, inspect, logs, metrics, deployments,
    revisions list, rollback, secrets add|list|delete, types, actors list|inspect|instances|state|logs|invoke|delete,
    alarms list|retry, delete-func, status"""
    wanted = {(*command.split()[:-1], last) for command in words.split(",") for last in command.split()[-1].split("|")}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_says_what_it_does_and_shows_an_example_that_it_takes(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    shown = command.get_help(click.Context(command, info_name=f"tenure {' '.join(path)}"))
    said = (command.help or "").split("\n")[0]
    assert re.fullmatch(r"[A-Z].*[.:]", said), said
    names = [f"tenure {' '.join(one)}" for one, same in COMMANDS.items() if same is command]
    lines = [line.strip().removeprefix("Example: ") for line in shown.splitlines()[1:]]
    examples = [(line, name) for line in lines for name in names if f"{line} ".startswith(f"{name} ")]
    assert examples, f"give it an example: in its docstring, or in host/cli/examples.py:\n{shown}"
    for line, name in examples:
        given = shlex.split(re.split(r" [<>|] ", line)[0], comments=True)[len(name.split()) :]
        try:
            command.make_context(path[-1], given)
        except click.BadParameter as error:  # files and folders of the example are not on this machine
            if "does not exist" not in error.message:
                raise


def test_every_example_is_of_a_command() -> None:
    assert [
        line for line in EXAMPLES if not any(f"{line} ".startswith(f"tenure {' '.join(p)} ") for p in COMMANDS)
    ] == []


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
