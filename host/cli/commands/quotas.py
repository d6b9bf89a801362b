"""The commands `usage` and `admin quotas`: what a tenant may use, what it uses now, and what it has used by day."""

from __future__ import annotations

import click

from host.cli import settings
from host.cli.client import AdminClient, Json
from host.cli.console import CliError, say, say_json, say_table, size, warn
from host.model.quotas import parsed

DAYS_MAX = 62

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
days_option = click.option("--days", type=click.IntRange(1, DAYS_MAX), default=7, show_default=True)


@click.command("usage")
@click.argument("function", required=False)
@click.option("--tenant", help="For the operator of the host: of this tenant.")
@days_option
@json_option
def usage(function: str | None, tenant: str | None, days: int, as_json: bool) -> None:
    """Show your quotas, what you use of them now, and what you have used by day; or those of one FUNCTION."""
    if function is not None and tenant is not None:
        raise CliError("A function is one of your own: name it without --tenant, or the tenant alone.")
    found = AdminClient(settings.load()).usage(function, tenant, days)
    if as_json:
        say_json(found)
        return
    _show_quotas(found, ("tenant", "host") if function is None else ("function", "tenant"))
    say()
    rows = [
        [
            day["date"],
            f"{day['requests']:,}",
            f"{day['turns']:,}",
            f"{day['cpu_ms'] / 1000:,.1f} s",
            size(day["bytes_in"]),
            size(day["bytes_out"]),
            f"{day['outbound']:,}",
            ", ".join(f"{count:,} {quota}" for quota, count in sorted(day["over"].items())) or "-",
        ]
        for day in found["days"]
    ]
    say_table(["DAY (UTC)", "REQUESTS", "TURNS", "CPU", "IN", "OUT", "OUTBOUND", "REFUSED"], rows)


@click.group("quotas")
def quotas() -> None:
    """What each tenant may have and use."""


@quotas.command("show")
@click.argument("tenant")
@json_option
def show(tenant: str, as_json: bool) -> None:
    """Show the quotas of TENANT and what it uses of them now."""
    found = AdminClient(settings.load()).quotas(tenant)
    if as_json:
        say_json(found)
    else:
        _show_quotas(found)


@quotas.command("set")
@click.argument("tenant")
@click.argument("quotas", nargs=-1, required=True, metavar="NAME=VALUE...")
@json_option
def set_quotas(tenant: str, quotas: tuple[str, ...], as_json: bool) -> None:
    """Set quotas of TENANT: a number, `none`, or `default` for what the host has.

    \b
    tenure admin quotas set acme requests_per_second=100 storage_mb=none
    """
    given: Json = {}
    for text in quotas:
        name, separator, value = text.partition("=")
        if separator and value.strip().lower() == "default":
            given[name.strip()] = "default"
            continue
        try:
            name, number = parsed(text)
        except ValueError as error:
            raise CliError(f"{error}.") from None
        given[name] = number
    found = AdminClient(settings.load()).change_quotas(tenant, given)
    if as_json:
        say_json(found)
    else:
        _show_quotas(found)


def _show_quotas(found: Json, set_for: tuple[str, str] = ("tenant", "host")) -> None:
    """`set_for`: whose a quota is that was set, and whose it is else."""
    rows = [
        [one["name"], _number(one["limit"], "none"), _number(one["used"], "-"), set_for[0 if one["set"] else 1]]
        for one in found["quotas"]
    ]
    say_table(["QUOTA", "LIMIT", "USED", "SET FOR"], rows)
    if not found["counted"]:
        warn("Storage is being counted after a start of the host: what is shown of it is too little.")


def _number(value: float | None, nothing: str) -> str:
    return nothing if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")


COMMANDS = (usage,)
