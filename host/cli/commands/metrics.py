"""The command `metrics`: how a function's invocations went, and what it takes."""

from __future__ import annotations

import click

from host.cli import settings
from host.cli.client import AdminClient, Json
from host.cli.console import say_json, say_table, size

MINUTES_MAX = 60


@click.command("metrics")
@click.argument("function")
@click.option("--minutes", type=click.IntRange(1, MINUTES_MAX), default=MINUTES_MAX, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def metrics(function: str, minutes: int, as_json: bool) -> None:
    """Show how FUNCTION went in the last minutes."""
    found = AdminClient(settings.load()).metrics(function, minutes)
    if as_json:
        say_json(found)
        return
    instances = found["instances"]
    rows = [
        ["invocations", f"{found['count']:,}"],
        ["errors", f"{found['errors']:,}" + _outcomes(found["outcomes"])],
        ["p50, p95, p99", ", ".join(_ms(found[name]) for name in ("p50_ms", "p95_ms", "p99_ms"))],
        ["CPU", _ms(found["cpu_ms"])],
        ["in, out", f"{size(found['bytes_in'])}, {size(found['bytes_out'])}"],
        ["instances", f"{instances['actor']:,} of actors, {instances['handler']:,} idle of the handler"],
        ["memory", f"at most {size(found['memory_bytes_max'])}"],
        ["storage", size(found["stored_bytes"])],
    ]
    say_table([f"LAST {minutes} MIN", function], rows)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def _outcomes(outcomes: Json) -> str:
    bad = [f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != "ok"]
    return f" ({', '.join(bad)})" if bad else ""


COMMANDS = (metrics,)
