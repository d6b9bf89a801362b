"""Commands about what was shipped before: `revisions list`, `deployments`, `rollback`."""

from __future__ import annotations

import re
import sys

import click

from host.cli import console, settings
from host.cli.client import AdminClient, AdminError, Json
from host.cli.console import CliError, say, say_json, say_table, size

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_DIGEST_CHARS = 12
_REVISION = re.compile(r"v?([0-9]{1,9})")


@click.group("revisions")
def revisions() -> None:
    """The versions of a function."""


@revisions.command("list")
@click.argument("function")
@json_option
def list_revisions(function: str, as_json: bool) -> None:
    """List the versions of FUNCTION, the newest first."""
    client = AdminClient(settings.load())
    versions = client.versions(function)
    if as_json:
        say_json(versions)
    elif not versions:
        say("Nothing was shipped to it yet. Use `tenure ship`.", to=sys.stderr)
    else:
        rows = [
            [
                str(one["number"]),
                _state(one),
                one["created_at"],
                one["by"],
                size(one["size"]),
                one["digest"][:_DIGEST_CHARS],
            ]
            for one in versions
        ]
        say_table(["REV", "STATUS", "SHIPPED", "BY", "SIZE", "DIGEST"], rows)


@click.command("deployments")
@click.argument("function")
@json_option
def deployments(function: str, as_json: bool) -> None:
    """Show which version of FUNCTION served when, the newest first."""
    found = AdminClient(settings.load()).deployments(function)
    if as_json:
        say_json(found)
    elif not found:
        say("Nothing was deployed yet. Use `tenure ship`.", to=sys.stderr)
    else:
        rows = [[str(one["version"]), one["since"], one["until"] or "serves", one["by"]] for one in found]
        say_table(["REV", "SINCE", "UNTIL", "BY"], rows)


@click.command("rollback")
@click.argument("function")
@click.argument("rev", required=False)
@json_option
def rollback(function: str, rev: str | None, as_json: bool) -> None:
    """Let version REV of FUNCTION serve; without REV the one that served before."""
    number = None if rev is None else _number(rev)
    client = AdminClient(settings.load())
    past = client.deployments(function)
    if number is None:
        number = _before(function, past)
    try:
        deployed = client.deploy(function, number)
    except AdminError as error:
        hint = f"See its versions with `tenure revisions list {function}`." if error.status in (404, 409) else ""
        raise AdminError(error.status, error.code, error.message, hint, more=error.more) from None
    for warning in deployed["warnings"]:
        console.warn(str(warning))
    if as_json:
        say_json(deployed)
    elif past and past[0]["version"] == number and past[0]["since"] == deployed["since"]:
        say(f"Version {number} of '{function}' serves already, since {deployed['since']}.")
    else:
        say(f"✅ Version {number} of '{function}' serves now.")


def _number(rev: str) -> int:
    found = _REVISION.fullmatch(rev)
    if found is None:
        raise click.UsageError(f"{rev!r} is not a version: write its number, such as 3.")
    return int(found[1])


def _before(function: str, past: list[Json]) -> int:
    """The version that served before the one that does."""
    for one in past:
        if one["version"] != past[0]["version"]:
            return int(one["version"])
    raise CliError(
        f"No other version of '{function}' has served before.",
        f"Name one: `tenure revisions list {function}` shows them, `tenure rollback {function} REV` deploys one.",
    )


def _state(version: Json) -> str:
    return "serves" if version["serving"] else str(version["status"])


COMMANDS = (revisions, deployments, rollback)
