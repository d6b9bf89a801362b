"""Commands about actors' alarms: `alarms list`, `alarms retry`."""

from __future__ import annotations

import sys

import click

from host.cli import console, settings
from host.cli.client import AdminClient, Json
from host.cli.console import CliError, say, say_json, say_table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_SHOWN_MAX = 10_000
_MESSAGE_CHARS = 60
_REQUESTS_MAX = 1_000


@click.group("alarms")
def alarms() -> None:
    """Alarms of your actors: those that wait, and the dead ones."""


@alarms.command("list")
@click.option("--dead", is_flag=True, help="Those that were given up after six retries.")
@click.option("--type", "actor_type", help="Of one actor type.")
@json_option
def list_alarms(dead: bool, actor_type: str | None, as_json: bool) -> None:
    """List alarms that wait, the next one first, or dead ones."""
    found = _all(AdminClient(settings.load()), "dead" if dead else "waiting", actor_type)
    found.sort(key=lambda alarm: (alarm["failed_at" if dead else "due_at"], alarm["type"], alarm["name"]))
    if as_json:
        say_json(found)
    elif not found:
        say("No alarm is dead." if dead else "No alarm is set.", to=sys.stderr)
    elif dead:
        rows = [
            [one["type"], one["name"], one["failed_at"], f"{one['error']}: {_line(one['message'])}"] for one in found
        ]
        say_table(["TYPE", "NAME", "FAILED", "ERROR"], rows)
        say("Put one back with `tenure alarms retry TYPE NAME`.", to=sys.stderr)
    else:
        say_table(
            ["TYPE", "NAME", "DUE", "RETRIES"],
            [[one["type"], one["name"], one["due_at"], str(one["retries"])] for one in found],
        )


@alarms.command("retry")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="All dead alarms of TYPE.")
@json_option
def retry(actor_type: str, name: str | None, every: bool, as_json: bool) -> None:
    """Put a dead alarm back: it fires now, and has all its retries again."""
    if every == (name is not None):
        raise click.UsageError("Write the actor's NAME, or --all for all of the type.")
    client = AdminClient(settings.load())
    retried = _retry_all(client, actor_type) if name is None else int(client.retry_alarm(actor_type, name)["retried"])
    if as_json:
        say_json({"retried": retried})
    elif name is not None:
        say(f"The alarm of {actor_type} '{name}' fires now.")
    elif retried:
        say(f"{retried} alarms of {actor_type} fire now.")
    else:
        raise CliError(f"{actor_type} has no dead alarms.", "See all of yours with `tenure alarms list --dead`.")


def _retry_all(client: AdminClient, actor_type: str) -> int:
    retried = 0
    for _ in range(_REQUESTS_MAX):
        reply = client.retry_alarms(actor_type)
        retried += int(reply["retried"])
        if not reply["more"]:
            break
    return retried


def _all(client: AdminClient, state: str, actor_type: str | None) -> list[Json]:
    """All pages; with more alarms than a person reads, the first ones and a warning."""
    page = client.alarms(state, actor_type)
    found: list[Json] = page["alarms"]
    while page["next"]:
        if len(found) >= _SHOWN_MAX:
            console.warn(f"there are more than {len(found)}; narrow it down with --type, or ask the admin API.")
            break
        page = client.alarms(state, actor_type, page["next"])
        found += page["alarms"]
    return found


def _line(text: str) -> str:
    """The beginning of a message, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _MESSAGE_CHARS else flat[: _MESSAGE_CHARS - 1] + "…"


COMMANDS = (alarms,)
