"""What `tenure serve` and `tenure dev` are started with, as one immutable value.

It is made in the CLI from flags and environment and read by `host.server` only: no room looks at the environment
itself, so a test that makes a `ServeConfig` has said everything there is to say.

Port 0 means "any free port"; what was really bound is known only to the running host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from host.confine.process import Mode
from host.model.address import Address
from host.model.keep import DAYS_MAX, VERSIONS_MAX, Keep
from host.model.limits import HOST_LIMITS, HostLimits
from host.model.quotas import DEFAULTS, Quotas, merged, parsed

Network = IPv4Network | IPv6Network
EdgeServer = Literal["uvicorn", "hypercorn"]


DEFAULT_LISTEN = Address("127.0.0.1", 8787)
DEFAULT_ADMIN = Address("127.0.0.1", 8788)
_MAPPINGS_EACH, _OTHER_MAPPINGS = 7, 4_000
"""Of memory: for an instance (6.1 were counted), and for all else in a worker."""
ADDRESSED_MAX = 10_000
"""Activations of a worker that there are addresses for. A process has 2**47; an instance with QuickJS's three memories
reserves 3 * (4 GiB + 64 MiB) of them, so that its code need not compare each one, which makes 10,752 with handlers.
"""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """One host process. `data_dir` is created when it is missing; two processes never share one."""

    data_dir: Path = Path(".tenure")
    listen: Address = DEFAULT_LISTEN
    admin: Address = DEFAULT_ADMIN
    base_domain: str = "localhost"
    edge_server: EdgeServer = "uvicorn"
    workers: int = 1
    """Worker processes; also the number of shards of a data folder that is made now."""
    limits: HostLimits = field(default=HOST_LIMITS)
    outbound_permitted: tuple[Network, ...] = ()
    """Networks that guests may reach although they are not public, such as a service beside the host."""
    confine: Mode = "try"
    """Whether workers must be confined, are as far as this machine can, or are not."""
    invocation_logs: float = 1.0
    """Share of invocations that get a line in their function's log, 0 to 1; those that fail get one unless it is 0."""
    otlp_endpoint: str = ""
    """Base URL of an OpenTelemetry collector, such as http://127.0.0.1:4318; "": nothing is traced."""
    trace_share: float = 0.01
    """Share of requests that are traced, of those that come without a sampled `traceparent`."""
    metrics_open: bool = False
    """Whether /metrics asks for no key; the admin API has to be on loopback then."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies before the admin server, whose X-Forwarded-For and X-Forwarded-Proto the dashboard believes."""
    tls_listen: Address | None = None
    """Where functions are served with TLS, besides; None: nowhere."""
    tls_cert: Path | None = None
    """The folder of certificates and keys; it is there when `tls_listen` is."""
    tls_digest: str = ""
    """Tells the certificates that were read from others (`gateway.certificates`)."""
    dns: Address | None = None
    """Whom to ask for the TXT records of tenants' host names; None: those that the machine asks."""
    quotas: Quotas = DEFAULTS
    """Of each tenant for which its operator has set no others. Workers get those of tenants with what serves."""
    keep: Keep | None = None
    """The rule by which old versions go, of functions that have none of their own; None: they stay."""
    secrets_key: str = field(default="", repr=False)
    """The keys that secrets are sealed with, as TENURE_SECRETS_KEY has them; "": those of a file in the data folder."""

    public_url: str = ""
    """Where clients find the base domain, such as https://fns.example.com, if that is not `listen`: at a proxy."""
    backups: Path | None = None
    """The folder that backups are kept in; None: `backups` in the data folder."""

    @property
    def backups_dir(self) -> Path:
        return (self.backups or self.data_dir / "backups").absolute()

    @property
    def compiled_dir(self) -> Path:
        """Machine code, which workers map and never write."""
        return self.data_dir.absolute() / "compiled"


_AS_THEY_ARE = (
    "base_domain", "confine", "edge_server", "workers", "invocation_logs", "otlp_endpoint", "trace_share",
    "tls_digest",
)  # fmt: skip


def config_to_json(config: ServeConfig) -> dict[str, Any]:
    """For a process of the same host: it is read by the same program."""
    return {
        **{name: getattr(config, name) for name in _AS_THEY_ARE},
        "data_dir": str(config.data_dir.absolute()),
        "listen": list(config.listen),
        "admin": list(config.admin),
        "tls_listen": None if config.tls_listen is None else list(config.tls_listen),
        "limits": asdict(config.limits),
        "outbound_permitted": [str(network) for network in config.outbound_permitted],
    }


def config_from_json(stored: Mapping[str, Any]) -> ServeConfig:
    return ServeConfig(
        **{
            **stored,
            "data_dir": Path(stored["data_dir"]),
            "listen": Address(*stored["listen"]),
            "admin": Address(*stored["admin"]),
            "tls_listen": None if stored["tls_listen"] is None else Address(*stored["tls_listen"]),
            "limits": HostLimits(**stored["limits"]),
            "outbound_permitted": tuple(ip_network(name) for name in stored["outbound_permitted"]),
        }
    )


def host_limits(
    max_activations: int | None = None,
    activation_idle_s: float | None = None,
    environ: Mapping[str, str] = os.environ,
) -> HostLimits:
    """The process's limits: a flag wins over `TENURE_MAX_ACTIVATIONS` and `TENURE_ACTIVATION_IDLE_SECONDS`, these
    over the defaults. Raises ValueError, naming the variable, when one is not a positive number."""
    if max_activations is None and (number := _positive(environ, "TENURE_MAX_ACTIVATIONS")) is not None:
        max_activations = max(int(number), 1)
    if activation_idle_s is None:
        activation_idle_s = _positive(environ, "TENURE_ACTIVATION_IDLE_SECONDS")
    limits = HOST_LIMITS
    if max_activations is not None:
        limits = replace(limits, activations_max=max_activations)
    if activation_idle_s is not None:
        limits = replace(limits, activation_idle_s=activation_idle_s)
    return limits


def within_process(
    limits: HostLimits, workers: int, path: Path = Path("/proc/sys/vm/max_map_count")
) -> tuple[HostLimits, str]:
    """The limits with no more activations than these workers, as processes, have addresses and mappings of memory for,
    and what to tell the operator if that is less than was asked; else "". `path` is the kernel's setting; where there
    is none mappings are not bounded.
    """
    asked = limits.activations_max
    most, told = ADDRESSED_MAX * workers, f"a process has addresses for {ADDRESSED_MAX:,}. For more: --workers"
    with suppress(OSError, ValueError):
        mappings = int(path.read_text())
        mapped = max((mappings - _OTHER_MAPPINGS) // _MAPPINGS_EACH, 1) * workers
        if mapped < most:
            needed = -(-min(asked, most) // workers) * _MAPPINGS_EACH + _OTHER_MAPPINGS
            most, told = (
                mapped,
                (f"the kernel gives a process {mappings:,} mappings. For more: sysctl -w vm.max_map_count={needed}"),
            )
    if asked <= most:
        return limits, ""
    return replace(limits, activations_max=most), f"{most:,} actors are in memory at most, not {asked:,}: {told}"


def worker_count(workers: int | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """A flag wins over `TENURE_WORKERS`, this over the number of cores that this process may use. Raises ValueError."""
    if workers is None and (number := _positive(environ, "TENURE_WORKERS")) is not None:
        workers = max(int(number), 1)
    return workers or len(os.sched_getaffinity(0))


def permitted_networks(environ: Mapping[str, str] = os.environ) -> tuple[Network, ...]:
    """`TENURE_OUTBOUND_PERMITTED`: networks such as `10.1.0.0/16`, with commas between. Raises ValueError."""
    return _networks(environ, "TENURE_OUTBOUND_PERMITTED")


def trusted_proxies(environ: Mapping[str, str] = os.environ) -> tuple[Network, ...]:
    """`TENURE_TRUSTED_PROXIES`: addresses or networks, with commas between. Raises ValueError."""
    return _networks(environ, "TENURE_TRUSTED_PROXIES")


def host_quotas(given: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Quotas:
    """`NAME=VALUE` each; a flag wins over `TENURE_QUOTAS`, which has commas between them. Raises ValueError."""
    from_environ = [text for text in environ.get("TENURE_QUOTAS", "").split(",") if text.strip()]
    return merged(DEFAULTS, dict(parsed(text) for text in (*from_environ, *given)))


_SCHEMES = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


def public_address(url: str = "", base_domain: str | None = None) -> tuple[str, str]:
    """(`ServeConfig.public_url`, `ServeConfig.base_domain`) of what was named of both. A function's host name is below
    the one that the URL names, so either says the domain, and both have to say the same.

    Raises ValueError with a sentence for the user.
    """
    domain = (base_domain or "localhost").lower().rstrip(".")
    if not url:
        return "", domain
    try:
        parts = urlsplit(url)
        host, port, extra = parts.hostname or "", parts.port, parts.path.rstrip("/") or parts.query or parts.fragment
        right = parts.scheme in _SCHEMES and _HOST.fullmatch(host) and port != 0 and "@" not in parts.netloc
    except ValueError:
        right = False
    if not right or extra or host.rpartition(".")[2].isdigit():
        raise ValueError(
            f"--public-url is '{url}'; write a scheme and a host name, with a port if it is not the usual one and "
            "nothing behind it, such as https://fns.example.com"
        )
    if base_domain is not None and host != domain:
        raise ValueError(
            f"--public-url says that functions are below {host}, and --base-domain that they are below {domain}: "
            "name the same, or leave --base-domain out"
        )
    return f"{parts.scheme}://{host}" + ("" if port in (None, _SCHEMES[parts.scheme]) else f":{port}"), host


def keep_rule(
    versions: int | None = None, days: float | None = None, environ: Mapping[str, str] = os.environ
) -> Keep | None:
    """A flag wins over `TENURE_KEEP_VERSIONS` and `TENURE_KEEP_DAYS`. Who says one of them has a rule, with the other
    as a prune has it; None for who says none. Raises ValueError.
    """
    if versions is None and (number := _positive(environ, "TENURE_KEEP_VERSIONS")) is not None:
        versions = max(int(number), 1)
    if days is None:
        days = _positive(environ, "TENURE_KEEP_DAYS", or_zero=True)
    if versions is None and days is None:
        return None
    if (versions or 0) > VERSIONS_MAX or (days or 0) > DAYS_MAX:
        raise ValueError(f"a rule keeps {VERSIONS_MAX:,} versions and {DAYS_MAX:,} days at most; name fewer")
    return Keep(Keep().versions if versions is None else versions, Keep().days if days is None else days)


def check_open_metrics(admin: Address) -> None:
    """Raises ValueError unless the admin API is on a loopback address."""
    with suppress(ValueError):
        if admin.host == "localhost" or ip_address(admin.host).is_loopback:
            return
    raise ValueError(f"--metrics-open needs the admin API on a loopback address, and --admin is {admin}")


TLS_WORKERS_MAX = 120
"""A worker gets the listening sockets of all in one message, which carries 253 at most."""


def check_tls(listen: Address | None, certificates: Path | None, workers: int) -> None:
    """Raises ValueError for a half of what TLS needs, or for more workers than there can be with it."""
    if (listen is None) != (certificates is None):
        raise ValueError("--tls-listen and --tls-cert go together: name both, or none")
    if listen is not None and workers > TLS_WORKERS_MAX:
        raise ValueError(f"with TLS there can be {TLS_WORKERS_MAX} workers at most, and --workers is {workers}")


def secrets_key(environ: Mapping[str, str] = os.environ) -> str:
    """`TENURE_SECRETS_KEY`: see `ServeConfig.secrets_key`."""
    return environ.get("TENURE_SECRETS_KEY", "")


def _networks(environ: Mapping[str, str], variable: str) -> tuple[Network, ...]:
    try:
        names = environ.get(variable, "").split(",")
        return tuple(ip_network(name.strip()) for name in names if name.strip())
    except ValueError as error:
        raise ValueError(f"{variable}: {error}; write networks such as 10.1.0.0/16") from None


def _positive(environ: Mapping[str, str], name: str, *, or_zero: bool = False) -> float | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value == 0 and not or_zero):
        raise ValueError(f"{name} is '{text}'; it must be {'0 or ' if or_zero else ''}a number above 0")
    return value
