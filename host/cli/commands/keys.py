"""`tenure auth api-key create|list|revoke`: the API keys of one's own tenant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from host.cli import settings
from host.cli.client import AdminClient, Json
from host.cli.console import say, say_json, say_table

SCOPES = ("read", "deploy", "admin")
EXPIRES_DAYS_MAX = 3_650

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def create_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a new key is asked for, for one's own tenant and for others."""
    for option in (
        click.option("--expires-days", type=click.IntRange(1, EXPIRES_DAYS_MAX), help="Refused after so many days."),
        click.option("--scope", type=click.Choice(SCOPES), default="admin", show_default=True),
        click.option("--name", required=True, help="Whose, or what for: shown in lists and histories."),
    ):
        command = option(command)
    return command


def expires_at(days: int | None) -> str | None:
    """As the admin API takes it."""
    if days is None:
        return None
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds").replace("+00:00", "Z")


@click.command("create")
@create_options
@json_option
def create(name: str, scope: str, expires_days: int | None, as_json: bool) -> None:
    """Create an API key of your tenant and print it, this once."""
    show_new_key(AdminClient(settings.load()).create_key(name, scope, expires_at(expires_days)), as_json)


@click.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the API keys of your tenant."""
    show_keys(AdminClient(settings.load()).keys(), as_json)


@click.command("revoke")
@click.argument("key_id", metavar="KEY_ID")
def revoke(key_id: str) -> None:
    """Revoke an API key of your tenant, by its id, at once."""
    AdminClient(settings.load()).revoke_key(key_id)
    say(f"Key {key_id} is revoked.")


def show_new_key(made: Json, as_json: bool) -> None:
    """The key alone on stdout, so that a script can take it."""
    if as_json:
        say_json(made)
        return
    until = f", until {made['expires_at']}" if made["expires_at"] else ""
    say(f"Key '{made['name']}' ({made['id']}), scope {made['scope']}{until}. It is shown this once:", to=sys.stderr)
    say(made["key"])


def show_keys(keys: list[Json], as_json: bool) -> None:
    if as_json:
        say_json(keys)
        return
    if not keys:
        say("It has no keys.", to=sys.stderr)
        return
    rows = [
        [
            one["id"],
            one["name"],
            "operator" if one["role"] == "operator" else one["scope"],
            one["created_at"],
            one["last_used_at"] or "never",
            one["expires_at"] or "never",
        ]
        for one in keys
    ]
    say_table(["ID", "NAME", "SCOPE", "CREATED", "LAST USED", "EXPIRES"], rows)


COMMANDS = (create, list_keys, revoke)
