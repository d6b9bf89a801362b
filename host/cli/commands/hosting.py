"""Commands that are a host themselves: `serve` and `dev`. Only these two import anything of the host but `model`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from host.cli.console import CliError


class AddressType(click.ParamType[Any]):
    """HOST:PORT on the command line, `host.config.Address` in the program."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from host.config import Address, parse_address

        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = AddressType()


@click.command("serve")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".tenure"), show_default=True, help="Data folder."
)
@click.option("--listen", type=ADDRESS, default="127.0.0.1:8787", show_default=True, help="Where functions are served.")
@click.option("--admin", type=ADDRESS, default="127.0.0.1:8788", show_default=True, help="Where the admin API is.")
@click.option("--base-domain", default="localhost", show_default=True, help="Functions are at LABEL.DOMAIN.")
@click.option("--edge-server", type=click.Choice(["uvicorn", "hypercorn"]), default="uvicorn", show_default=True)
@click.option("--max-activations", type=click.IntRange(1), help="Actors in memory at most.")
@click.option(
    "--activation-idle-seconds",
    type=click.FloatRange(0, min_open=True),
    help="Idle time after which an actor leaves memory.",
)
def serve(
    data: Path,
    listen: Any,
    admin: Any,
    base_domain: str,
    edge_server: Any,
    max_activations: int | None,
    activation_idle_seconds: float | None,
) -> None:
    """Run a host until it is stopped."""
    from host.config import ServeConfig, host_limits, permitted_networks, secrets_key

    try:
        limits = host_limits(max_activations, activation_idle_seconds)
        permitted = permitted_networks()
    except ValueError as error:
        raise CliError(str(error)) from None
    domain = base_domain.lower().rstrip(".")
    config = ServeConfig(data, listen, admin, domain, edge_server, limits, permitted, secrets_key())
    from host import server

    sys.exit(server.run(config))


@click.command("dev")
@click.option("--project", "folder", type=click.Path(path_type=Path), default=Path("."), help="Folder of the project.")
@click.option(
    "--listen", type=ADDRESS, default="127.0.0.1:8787", show_default=True, help="Where the function is served."
)
def dev(folder: Path, listen: Any) -> None:
    """Run this project here: rebuilt on save, state in .tenure/, logs in the terminal."""
    from host.cli import dev as development

    development.run(folder, listen)


COMMANDS = (serve, dev)
