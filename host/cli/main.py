"""The command `tenure`: its groups and commands, and how any of them ends.

Exit codes: 0 done, 1 could not be done (the reason and the next step are on stderr), 2 wrong usage. Commands live in
`commands/`, one module for each kind; a command imports what is heavy only when it runs.
"""

from __future__ import annotations

import os
import sys

import click

from host.cli.commands import (
    actor_views,  # noqa: F401  # more commands of `actors`
    actors,
    alarms,
    auth,
    backup,
    completion,
    data,
    domains,
    functions,
    hosting,
    logs,
    metrics,
    projects,
    quotas,
    secrets,
    tenants,
    types,
    versions,
)
from host.cli.console import CliError, say
from host.cli.examples import show_in_help


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tenure", message="tenure %(version)s")
def cli() -> None:
    """Run WebAssembly functions and stateful actors on your own host.

    \b
    TENURE_ENDPOINT  admin address of the host   (default http://127.0.0.1:8788)
    TENURE_API_KEY   API key, instead of the stored one
    TENURE_CONFIG    file that keeps the key     (default ~/.config/tenure/config.json)
    """


for _command in (
    *hosting.COMMANDS,
    auth.auth,
    *projects.COMMANDS,
    *types.COMMANDS,
    *functions.COMMANDS,
    *versions.COMMANDS,
    *domains.COMMANDS,
    logs.logs,
    metrics.metrics,
    quotas.usage,
    *secrets.COMMANDS,
    actors.actors,
    alarms.alarms,
    backup.backup,
    tenants.admin,
    data.data,
    completion.completion,
):
    cli.add_command(_command)
show_in_help(cli)


def main() -> None:
    """Entry point of the console script. Never returns; no Python traceback is shown for what users can cause."""
    try:
        code = cli.main(standalone_mode=False)
    except CliError as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Abort:
        say("Stopped.", to=sys.stderr)
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from complaining when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
