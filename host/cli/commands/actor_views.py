"""`actors instances|state|logs`: the words that others use for what `actors list` and `inspect` and `logs` show."""

from __future__ import annotations

import click

from host.cli import settings
from host.cli.client import AdminClient
from host.cli.commands.actors import actors, json_option, show_actors, show_state
from host.cli.commands.logs import LAST_MAX, LEVELS, Since, show_logs
from host.cli.console import CliError


@actors.command("instances")
@click.argument("actor_type", metavar="TYPE")
@click.option("--prefix", default="", help="Those whose name begins so.")
@json_option
def instances(actor_type: str, prefix: str, as_json: bool) -> None:
    """List the actors of TYPE.

    \b
    tenure actors instances Account --prefix al
    """
    show_actors(actor_type, prefix, as_json)


@actors.command("state")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.option("--prefix", default="", help="Show keys that begin so.")
@json_option
def state(actor_type: str, name: str, prefix: str, as_json: bool) -> None:
    """Show the keys of an actor with their values.

    \b
    tenure actors state Account alice
    """
    show_state(actor_type, name, prefix, as_json)


@actors.command("logs")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.option("--tail", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", type=Since(), help="From then on: 10m, 2h, or a time.")
@click.option("--last", type=click.IntRange(0, LAST_MAX), help="So many at most.")
@click.option("--level", type=click.Choice(LEVELS), help="Of this level and above.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --tail one object a line.")
def actor_logs(
    actor_type: str, name: str, tail: bool, since: str | None, last: int | None, level: str | None, as_json: bool
) -> None:
    """Show what an actor logged, the oldest line first.

    \b
    tenure actors logs Account alice --tail
    """
    client = AdminClient(settings.load())
    owner = next((one["function"] for one in client.actor_types() if one["type"] == actor_type), None)
    if owner is None:
        raise CliError(
            f"No function owns the actor type {actor_type!r}.", "`tenure actors types` lists those there are."
        )
    show_logs(client, owner, tail, since, last, (), f"{actor_type}/{name}", level, as_json)


COMMANDS = (actors,)
