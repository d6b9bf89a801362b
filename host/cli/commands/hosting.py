"""Commands that are a host themselves: `serve` and `dev`. Only these two import anything of the host but `model`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from host.cli.console import CliError, say
from host.model.address import Address, parse_address
from host.model.keep import DAYS_MAX, VERSIONS_MAX

if TYPE_CHECKING:
    from host.config import ServeConfig
    from host.supervisor.launch import Launched


class AddressType(click.ParamType[Any]):
    """HOST:PORT on the command line, `Address` in the program."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = AddressType()
WORKERS_MAX = 128


@click.command("serve")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".tenure"), show_default=True, help="Data folder."
)
@click.option("--listen", type=ADDRESS, default="127.0.0.1:8787", show_default=True, help="Where functions are served.")
@click.option("--admin", type=ADDRESS, default="127.0.0.1:8788", show_default=True, help="Where the admin API is.")
@click.option("--base-domain", help="Functions are at LABEL.DOMAIN (that of --public-url, or localhost).")
@click.option(
    "--public-url",
    default="",
    envvar="TENURE_PUBLIC_URL",
    metavar="URL",
    help="Where clients find the base domain, behind a proxy.",
)
@click.option("--edge-server", type=click.Choice(["uvicorn", "hypercorn"]), default="uvicorn", show_default=True)
@click.option("--max-activations", type=click.IntRange(1), help="Actors in memory at most.")
@click.option(
    "--activation-idle-seconds",
    type=click.FloatRange(0, min_open=True),
    help="Idle time after which an actor leaves memory.",
)
@click.option("--workers", type=click.IntRange(1, WORKERS_MAX), help="Worker processes (the number of cores).")
@click.option(
    "--confine",
    type=click.Choice(["require", "try", "off"]),
    default="try",
    show_default=True,
    help="Whether workers must be confined, are if this machine can, or are not.",
)
@click.option(
    "--invocation-logs",
    type=click.FloatRange(0, 1),
    default=1.0,
    envvar="TENURE_INVOCATION_LOGS",
    help="Share of the invocations that get a line in the log (1).",
)
@click.option("--metrics-open", is_flag=True, help="/metrics asks for no key; --admin has to be a loopback address.")
@click.option("--otlp-endpoint", default="", envvar="TENURE_OTLP_ENDPOINT", help="Collector that traces are sent to.")
@click.option(
    "--trace-share",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    envvar="TENURE_TRACE_SHARE",
    help="Share of the requests that are traced.",
)
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="TENURE_BACKUPS",
    help="Folder that backups are kept in (DATA/backups).",
)
@click.option("--tls-listen", type=ADDRESS, help="Where functions are served with TLS, besides.")
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of certificates: NAME.crt and NAME.key, both PEM.",
)
@click.option("--dns", type=ADDRESS, help="DNS server to ask about tenants' host names (the machine's).")
@click.option("--quota", "quotas", multiple=True, metavar="NAME=VALUE", help="Quota of each tenant; may be repeated.")
@click.option(
    "--keep-versions",
    type=click.IntRange(1, VERSIONS_MAX),
    help="Old versions of each function go by themselves; the newest N stay (they are not removed).",
)
@click.option("--keep-days", type=click.FloatRange(0, DAYS_MAX), help="The same; what served within N days stays.")
@click.option("--reload", "replace", is_flag=True, help="Replace the workers of the host that runs on --data.")
def serve(
    data: Path,
    listen: Any,
    admin: Any,
    base_domain: str | None,
    public_url: str,
    edge_server: Any,
    max_activations: int | None,
    activation_idle_seconds: float | None,
    workers: int | None,
    confine: Any,
    invocation_logs: float,
    metrics_open: bool,
    otlp_endpoint: str,
    trace_share: float,
    backups: Path | None,
    tls_listen: Any,
    tls_cert: Path | None,
    dns: Any,
    quotas: tuple[str, ...],
    keep_versions: int | None,
    keep_days: float | None,
    replace: bool,
) -> None:
    """Run a host until it is stopped."""
    if replace:
        _reload(data)
    nursery = _launch()
    from host import config

    try:
        if metrics_open:
            config.check_open_metrics(admin)
        public_url, domain = config.public_address(public_url, base_domain)
        limits = config.host_limits(max_activations, activation_idle_seconds)
        permitted, proxies = config.permitted_networks(), config.trusted_proxies()
        workers = config.worker_count(workers)
        limits, fewer = config.within_process(limits, workers)
        config.check_tls(tls_listen, tls_cert, workers)
        of_tenants, keep = config.host_quotas(quotas), config.keep_rule(keep_versions, keep_days)
    except ValueError as error:
        raise CliError(str(error)) from None
    if fewer:
        say(f"Warning: {fewer}", to=sys.stderr)
    serving = config.ServeConfig(
        data,
        listen,
        admin,
        domain,
        edge_server,
        workers,
        limits,
        outbound_permitted=permitted,
        confine=confine,
        invocation_logs=invocation_logs,
        metrics_open=metrics_open,
        otlp_endpoint=otlp_endpoint,
        trace_share=trace_share,
        trusted_proxies=proxies,
        tls_listen=tls_listen,
        tls_cert=tls_cert,
        dns=dns,
        quotas=of_tenants,
        keep=keep,
        secrets_key=config.secrets_key(),
        public_url=public_url,
        backups=backups,
    )
    _run(serving, nursery)


def _reload(data: Path) -> NoReturn:
    from host import server

    sys.exit(server.reload(data))


def _launch() -> Launched:
    from host.supervisor.launch import launch

    return launch("host.worker_process")  # it imports while this process does


def _run(config: ServeConfig, nursery: Launched) -> NoReturn:
    from host import server

    sys.exit(server.run(config, nursery))


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
