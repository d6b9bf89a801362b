"""What the command line shows fits the terminal, and shells can complete it."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys

import click.shell_completion
import pytest
from click.testing import CliRunner

from host.cli.console import say_table
from host.cli.main import MODULES, cli

ROWS = [["account", "deploy_ok", "http://account-0198c2c58a.localhost:8787"], ["hello", "created", "http://hello.x"]]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, stream: io.StringIO) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", stream)
    say_table(["NAME", "STATUS", "URL"], ROWS)
    return stream.getvalue().splitlines()


def test_a_table_that_fits_has_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, 60, Terminal())
    assert lines[1] == "account  deploy_ok  http://account-0198c2c58a.localhost:8787"
    assert len(lines) == 3


@pytest.mark.parametrize("columns", [20, 40, 59])
def test_a_table_that_does_not_fit_is_shown_row_by_row_and_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    lines = shown(monkeypatch, columns, Terminal())
    assert lines[:4] == [
        "NAME    account",
        "STATUS  deploy_ok",
        "URL     http://account-0198c2c58a.localhost:8787",
        "",
    ]
    assert len(lines) == 7


def test_a_table_that_is_piped_keeps_its_columns_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    assert len(shown(monkeypatch, 20, stream)) == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_tenure(shell: str) -> None:
    reply = CliRunner().invoke(cli, ["completion", shell])
    assert reply.exit_code == 0
    assert f"_TENURE_COMPLETE={shell}_complete" in reply.stdout


def test_bash_reads_its_script() -> None:
    script = CliRunner().invoke(cli, ["completion", "bash"]).stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=20)


def test_what_is_completed_are_commands_options_and_their_values() -> None:
    def completed(given: list[str], begun: str) -> list[str]:
        complete = click.shell_completion.ShellComplete(cli, {}, "tenure", "_TENURE_COMPLETE")
        return [one.value for one in complete.get_completions(given, begun)]

    assert completed([], "stat") == ["status"]
    assert completed(["actors"], "in") == ["inspect", "instances", "invoke"]
    assert completed(["logs", "f", "--level"], "w") == ["warn"]
    assert "--json" in completed(["list"], "--")


def test_each_command_is_where_it_is_looked_for_and_only_its_module_is_imported() -> None:
    found = {
        (command.name, module)
        for module in set(MODULES.values())
        for command in importlib.import_module(f"host.cli.commands.{module}").COMMANDS
    }
    assert found == set(MODULES.items())
    code = "import sys; from host.cli.main import cli; cli.main(['serve', '-h'], standalone_mode=False)"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.splitlines()[-1].split() if name.startswith("host.cli.commands.")}
    assert loaded == {"host.cli.commands.hosting"}
