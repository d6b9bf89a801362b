"""Commands about what is on the host: `list`, `inspect`, `release`, `delete-func`, `status`, `openapi`."""

from __future__ import annotations

import sys

import click

from host.cli import settings
from host.cli.client import AdminClient, Json
from host.cli.commands.versions import rule_words
from host.cli.console import confirm, say, say_json, say_table, size

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_FIRST = ("name", "status", "url", "id", "version", "errors", "unavailable", "actors", "size")


@click.command("list")
@json_option
def list_functions(as_json: bool) -> None:
    """List your functions."""
    functions = AdminClient(settings.load()).functions()
    if as_json:
        say_json(functions)
    elif not functions:
        say("No functions yet. Make one with `tenure new-func --name NAME`.", to=sys.stderr)
    else:
        rows = [[row["name"], row["status"], row["url"], row["id"]] for row in functions]
        say_table(["NAME", "STATUS", "URL", "ID"], rows)


@click.command("inspect")
@click.argument("function")
@json_option
def inspect(function: str, as_json: bool) -> None:
    """Show one FUNCTION, by name or id."""
    shown = AdminClient(settings.load()).function(function)
    if as_json:
        say_json(shown)
        return
    for key in (*_FIRST, *(key for key in shown if key not in _FIRST)):
        if (value := shown.get(key)) not in (None, "", [], {}):
            say(f"{key.replace('_', ' '):<14} {_plain(key, value)}")
    if shown["status"] == "deploy_failed" and shown["version"] is not None:
        say(f"The last ship failed; version {shown['version']} still serves.")


@click.command("release")
@click.argument("function")
@click.option("--tenant", help="Whose function it is, for the host's operator (your own).")
@json_option
def release(function: str, tenant: str | None, as_json: bool) -> None:
    """Let the version of FUNCTION serve again that is in quarantine."""
    client = AdminClient(settings.load())
    if tenant is None:
        before = client.function(function)
        held, shown = before["quarantined"], client.release(before["id"])
    else:
        held, shown = True, client.release_of(tenant, function)
    if as_json:
        say_json(shown)
    elif held:
        say(f"Version {shown['version']} of '{shown['name']}' serves again.")
    else:
        say(f"Function '{shown['name']}' is not in quarantine.")


@click.command("delete-func")
@click.argument("function")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_function(function: str, yes: bool) -> None:
    """Delete a FUNCTION, by name or id, with all its versions."""
    client = AdminClient(settings.load())
    shown = client.function(function)
    confirm(f"Delete function '{shown['name']}' ({shown['id']}) and its versions?", yes)
    client.delete_function(shown["id"])
    say(f"Function '{shown['name']}' is deleted.")


@click.command("status")
@json_option
def status(as_json: bool) -> None:
    """Show the host: version, uptime, counts."""
    current = settings.load()
    shown = AdminClient(current).status()
    if as_json:
        say_json({"endpoint": current.endpoint, **shown})
        return
    for name, value in _flat({"endpoint": current.endpoint, **shown}):
        say(f"{name:<18} {value}")


def _flat(value: Json, prefix: str = "") -> list[tuple[str, object]]:
    """Nested counts as one list: {"handlers": {"busy": 2}} is shown as `handlers busy 2`, a list is a row for each."""
    rows: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(item, dict):
            rows.extend(_flat(item, name))
        elif isinstance(item, list):
            rows.extend((name, _line(one)) for one in item)
        else:
            rows.append((name, item))
    return rows


def _line(value: object) -> str:
    """One item of a list: `slot 0, state serving`."""
    return ", ".join(f"{name} {item}" for name, item in value.items()) if isinstance(value, dict) else str(value)


def _plain(key: str, value: object) -> str:
    """One value of a function: a list is a line for each item, an actor is `BINDING → Type`."""
    if isinstance(value, list):
        return f"\n{'':<15}".join(_plain("", item) for item in value)
    if key == "rule" and isinstance(value, dict):
        return rule_words(value)
    if isinstance(value, dict):
        return " → ".join(map(str, value.values()))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return size(value) if key == "size" and isinstance(value, int) else str(value)


@click.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the host's admin API."""
    say_json(AdminClient(settings.load()).openapi())


COMMANDS = (list_functions, inspect, release, delete_function, status, openapi)
