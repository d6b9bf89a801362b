"""`tenure types`: the types of `env`, from the manifest."""

from __future__ import annotations

from pathlib import Path

import click

from host.cli import envtypes, project
from host.cli.console import CliError, say


@click.command("types")
@click.option("--project", "folder", type=click.Path(path_type=Path), default=Path("."), help="Folder of the project.")
@click.option("--check", is_flag=True, help="Write nothing; fail if the file is not what it would write.")
def types(folder: Path, check: bool) -> None:
    """Write the types of `env` (actors, variables, secrets) from the manifest, beside the entry point."""
    work = project.load(folder)
    if not check:
        say(str(envtypes.write(work)))
    elif not envtypes.is_current(work):
        raise CliError(f"{envtypes.path_in(work)} does not fit {work.path.name}.", "Run `tenure types`.")


COMMANDS = (types,)
