"""`tenure domains …`: host names of a function's own, which its manifest names in [[domains]]."""

from __future__ import annotations

import sys

import click

from host.cli import settings
from host.cli.client import AdminClient
from host.cli.console import say, say_json, say_table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("domains")
def domains() -> None:
    """Host names of your own that lead to a function."""


@domains.command("list")
@click.argument("function")
@json_option
def list_domains(function: str, as_json: bool) -> None:
    """List the host names that FUNCTION claims, and the TXT record that each needs."""
    found = AdminClient(settings.load()).domains(function)
    if as_json:
        say_json(found)
    elif not found:
        say("It claims none. Name one in [[domains]] of its manifest, and ship.", to=sys.stderr)
    else:
        rows = [
            [one["name"], one["verified_at"] or "not verified", one["record"]["name"], one["record"]["value"]]
            for one in found
        ]
        say_table(["NAME", "VERIFIED", "TXT RECORD", "TEXT"], rows)


@domains.command("verify")
@click.argument("function")
@click.argument("name")
@json_option
def verify(function: str, name: str, as_json: bool) -> None:
    """Look for the TXT record of NAME; it leads to FUNCTION from then on.

    Example: tenure domains verify shop shop.example.com
    """
    shown = AdminClient(settings.load()).verify_domain(function, name)
    if as_json:
        say_json(shown)
    else:
        say(f"✅ {shown['name']} leads to '{function}' now.")


COMMANDS = (domains,)
