"""Commands on a data folder itself, while no host runs on it: `data reshard`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from host.cli.console import CliError, say, size


@click.group("data")
def data() -> None:
    """A host's data folder, while no host runs on it."""


@data.command("reshard")
@click.argument("shards", type=click.IntRange(1, 1_000), metavar="SHARDS")
@click.option(
    "--data", "folder", type=click.Path(path_type=Path), default=Path(".tenure"), show_default=True, help="Data folder."
)
def reshard(shards: int, folder: Path) -> None:
    """Put all actors into SHARDS shards: as many as workers, or a multiple of that, keeps the workers evenly busy.

    Needs room for a second copy of the actors' state. Stopped in the middle, it has changed nothing.
    """
    from host.storage.ports import OpenError
    from host.storage.upgrade import reshard_folder

    def told(what: str, records: int) -> None:
        say(f"{what} {records:,} records", to=sys.stderr)

    try:
        before, after, tally = reshard_folder(folder.absolute(), shards, told)
    except OpenError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        raise CliError(f"The shards could not be made: {error}.", "Nothing was changed.") from None
    if before == after:
        say(f"{folder} has {after.shards} shards already.")
        return
    counts = ", ".join(f"{count:,} of {kind}" for kind, count in tally.records.items()) or "no actors"
    say(f"✅ {before.shards} → {after.shards} shards: {counts} ({size(tally.size)}), verified.")


COMMANDS = (data,)
