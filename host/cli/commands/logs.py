"""The command `logs`: what a function logged, and how its invocations went; with `--tail` as it comes."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from host.cli import settings
from host.cli.client import AdminClient, Json
from host.cli.console import say, say_json, size

LAST_DEFAULT, LAST_MAX = 100, 10_000
LEVELS = ("debug", "info", "warn", "error")
_AGO = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType[Any]):
    """`10m`, `2h`, `1d`, or a time such as 2026-05-01T10:00:00Z; given to the host as the latter."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if found := _AGO.fullmatch(value):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
            return moment.isoformat(timespec="milliseconds")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time nor how long ago: write 10m, 2h or 2026-05-01T10:00:00Z.")
        return (moment if moment.tzinfo is not None else moment.astimezone()).isoformat()


@click.command("logs")
@click.argument("function")
@click.option("--tail", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", type=Since(), help="From then on: 10m, 2h, or a time.")
@click.option("--last", type=click.IntRange(0, LAST_MAX), help=f"So many at most ({LAST_DEFAULT}; with --tail 10).")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(["console", "error", "invocation"]),
    help="Of this kind; may be repeated.",
)
@click.option("--instance", help="Of the handler, an actor type, or one actor: handler, Account, Account/alice.")
@click.option("--level", type=click.Choice(LEVELS), help="Of this level and above.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --tail one object a line.")
def logs(
    function: str,
    tail: bool,
    since: str | None,
    last: int | None,
    types: tuple[str, ...],
    instance: str | None,
    level: str | None,
    as_json: bool,
) -> None:
    """Show what FUNCTION logged, the oldest line first."""
    show_logs(AdminClient(settings.load()), function, tail, since, last, types, instance, level, as_json)


def show_logs(
    client: AdminClient,
    function: str,
    tail: bool,
    since: str | None,
    last: int | None,
    types: tuple[str, ...],
    instance: str | None,
    level: str | None,
    as_json: bool,
) -> None:
    """What `tenure logs` with these options shows."""
    given = {"since": since, "type": ",".join(types), "instance": instance, "level": level}
    params = {name: value for name, value in given.items() if value}
    if last is not None:
        params["last"] = str(last)
    elif since is None:
        params["last"] = str(10 if tail else LAST_DEFAULT)
    if tail:
        for line in client.follow_logs(function, params):
            say_json_line(line) if as_json else say(shown(line))
        say("The host ended it. Start it again to go on.", to=sys.stderr)
        return
    lines = client.logs(function, params)
    if as_json:
        say_json(lines)
    elif not lines:
        say("Nothing is in the log that you asked for.", to=sys.stderr)
    else:
        for line in lines:
            say(shown(line))


def shown(line: Json) -> str:
    """A line for people. What a guest wrote cannot move the cursor or colour the terminal."""
    head = f"{line['time']} {line['level']:<5} {line['instance'] or 'host'}"
    if line["type"] != "invocation":
        return f"{head}: {_plain(line['text'])}"
    what = f"{line['method']} {line['path']}" if "path" in line else f"{line['method']}()"
    outcome = " ".join(str(line[name]) for name in ("outcome", "error", "status") if name in line)
    times = f"{line['wall_ms']:.1f} ms, CPU {line['cpu_ms']:.1f} ms"
    sizes = f"{size(line['bytes_in'])} in, {size(line['bytes_out'])} out"
    return _plain(f"{head}: {what} {outcome}, {times}, {sizes}, v{line['version']}, {line['request_id']}")


def say_json_line(line: Json) -> None:
    import json

    say(json.dumps(line, ensure_ascii=False))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


COMMANDS = (logs,)
