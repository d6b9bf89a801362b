"""`tenure secrets …`: values that functions read and nobody sees again.

A value comes from stdin or is asked for. It is never an argument: those are in the shell's history and in every list of
processes.
"""

from __future__ import annotations

import sys

import click

from host.cli import settings
from host.cli.client import AdminClient
from host.cli.console import CliError, confirm, say, say_json, say_table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("secrets")
def secrets() -> None:
    """Secrets of your tenant, which functions name in [[secrets]]."""


@secrets.command("add")
@click.argument("name")
def add(name: str) -> None:
    """Store the secret NAME, in place of one that is there. Its value comes from stdin, or is asked for."""
    client = AdminClient(settings.load())
    shown = client.put_secret(name, _value(name))
    used_by = shown["used_by"]
    say(f"Secret '{name}' is stored." + (f" In use by: {', '.join(used_by)}; they have it now." if used_by else ""))
    if not used_by:
        say(f'A function reads it when its manifest has [[secrets]] with name = "{name}".', to=sys.stderr)


@secrets.command("list")
@json_option
def list_secrets(as_json: bool) -> None:
    """List the names of your secrets. Values are never shown."""
    found = AdminClient(settings.load()).secrets()
    if as_json:
        say_json(found)
    elif not found:
        say("No secrets yet. Store one with `tenure secrets add NAME`.", to=sys.stderr)
    else:
        rows = [[one["name"], one["updated_at"], one["by"], ", ".join(one["used_by"]) or "-"] for one in found]
        say_table(["NAME", "STORED", "BY", "USED BY"], rows)


@secrets.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete the secret NAME. Functions that bind it read undefined from then on."""
    client = AdminClient(settings.load())
    used_by: list[str] = next((one["used_by"] for one in client.secrets() if one["name"] == name), [])
    confirm(f"Delete secret '{name}'?" + (f" In use by: {', '.join(used_by)}." if used_by else ""), yes)
    client.delete_secret(name)
    say(f"Secret '{name}' is deleted.")


def _value(name: str) -> str:
    """All of stdin without the newline at its end, or what a person types."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise CliError("There is no value on stdin.", f"Pipe it in: tenure secrets add {name} < FILE")
    return value


COMMANDS = (secrets,)
