"""`tenure auth …`: which key the CLI uses, and the keys of one's tenant (`keys`).

The documentation's `auth status` and `auth api-key status` are the same.
"""

from __future__ import annotations

import sys

import click

from host.cli import settings
from host.cli.client import AdminClient
from host.cli.commands import keys
from host.cli.console import CliError, say, say_json


@click.group()
def auth() -> None:
    """Set, show and forget the API key."""


@auth.group("api-key")
def api_key() -> None:
    """The API key that commands send, and the keys of your tenant."""


@api_key.command("set")
@click.argument("key", required=False)
@click.option("--endpoint", metavar="URL", help="Also store the admin address of the host.")
def set_key(key: str | None, endpoint: str | None) -> None:
    """Store KEY ('-' reads it from stdin; without it you are asked)."""
    if key is None:
        key = click.prompt("API key", hide_input=True, err=True)
    elif key == "-":
        key = sys.stdin.readline()
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise CliError("That is not an API key.", "The host's first key is in DATA/operator.key, one line.")
    path = settings.config_path()
    settings.store(path, api_key=key, endpoint=endpoint)
    say(f"API key {settings.masked(key)} stored in {path}.")
    if settings.load().key_source == "TENURE_API_KEY":
        say("Note: TENURE_API_KEY is set and wins over the stored key.", to=sys.stderr)


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Ask the host whether it accepts the key."""
    current = settings.load()
    client = AdminClient(current)
    who = client.whoami()
    if as_json:
        say_json({"endpoint": current.endpoint, "key": settings.masked(current.api_key), **who})
        return
    say(f"Endpoint  {current.endpoint}")
    say(f"Tenant    {who['tenant']}")
    say(f"Key       {settings.masked(current.api_key)} '{who['name']}' (from {current.key_source})")
    say(f"Scope     {who['scope']}{', operator' if who['role'] == 'operator' else ''}")


@click.command("logout")
def logout() -> None:
    """Forget the stored key."""
    current = settings.load()
    settings.store(current.path, api_key=None)
    say(f"No API key is stored in {current.path} any more.")
    if current.key_source == "TENURE_API_KEY":
        say("Note: TENURE_API_KEY is set and still used.", to=sys.stderr)


for _group in (auth, api_key):
    _group.add_command(status)
    _group.add_command(logout)
for _command in keys.COMMANDS:
    api_key.add_command(_command)


COMMANDS = (auth,)
