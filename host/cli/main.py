"""The command `tenure`: its groups and commands, and how any of them ends.

Exit codes: 0 done, 1 could not be done (the reason and the next step are on stderr), 2 wrong usage. Commands live in
`commands/`, one module for each kind, which is imported when one of its commands is called; what is heavy is imported
only when a command runs.
"""

from __future__ import annotations

import os
import sys

import click

from host.cli.console import CliError, say
from host.cli.examples import show_in_help
from host.cli.lazy import LazyGroup

MODULES = {
    "actors": "actor_views",
    "admin": "tenants",
    "alarms": "alarms",
    "auth": "auth",
    "backup": "backup",
    "build": "projects",
    "completion": "completion",
    "data": "data",
    "delete-func": "functions",
    "deploy": "versions",
    "deployments": "versions",
    "dev": "hosting",
    "domains": "domains",
    "inspect": "functions",
    "list": "functions",
    "logs": "logs",
    "metrics": "metrics",
    "new-func": "projects",
    "openapi": "functions",
    "release": "functions",
    "revisions": "versions",
    "rollback": "versions",
    "secrets": "secrets",
    "serve": "hosting",
    "ship": "projects",
    "status": "functions",
    "types": "types",
    "usage": "quotas",
}
"""The module that each command is in."""


@click.group(
    cls=LazyGroup, modules=MODULES, loaded=show_in_help, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="tenure", message="tenure %(version)s")
def cli() -> None:
    """Run WebAssembly functions and stateful actors on your own host.

    \b
    TENURE_ENDPOINT  admin address of the host   (default http://127.0.0.1:8788)
    TENURE_API_KEY   API key, instead of the stored one
    TENURE_CONFIG    file that keeps the key     (default ~/.config/tenure/config.json)
    """


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
