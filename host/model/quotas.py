"""What a tenant may have and use of a host. The names are the same in the API, the CLI and the manifest's [limits].

The operator sets a host's quotas when it starts and those of a tenant while it runs; a function may lower some of its
tenant's for itself. Unlike limits (`model.limits`), which are about one call, quotas are about all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from host.model.limits import LIMITS, MiB

Value = float | None
"""None: no quota of its own; what the host as a whole can do is the bound."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Of one tenant. A size is in MiB, a time in milliseconds."""

    functions: int = 100
    versions: int = 50
    """Kept of each function; the oldest that is not in use goes."""
    actor_types: int = 100
    memory_mb: float = LIMITS.memory_bytes_max / MiB
    """Of one instance."""
    storage_mb: Value = 10_240
    """Keys and values of all actors together."""
    activations: Value = None
    """Actors in memory."""
    cpu_ms_per_minute: Value = None
    requests_per_second: Value = None
    outbound_per_minute: Value = 6_000


DEFAULTS = Quotas()

NAMES = tuple(field.name for field in fields(Quotas))
COUNTS = ("functions", "versions", "actor_types", "activations")
"""Whole numbers."""
BOUNDED = ("functions", "versions", "actor_types", "memory_mb")
"""Those that there always have to be."""
OF_FUNCTION = ("storage_mb", "activations", "cpu_ms_per_minute", "requests_per_second", "outbound_per_minute")
"""What a manifest may lower for its function, besides its limits; `memory_mb` is one of those."""
MOST: Mapping[str, float] = MappingProxyType({"memory_mb": 4_096, "versions": 10_000})
_MOST = 1e12


def checked(name: str, value: Any) -> Value:
    """`value` as this quota holds it. Raises ValueError with a sentence for the one who wrote it."""
    if name not in NAMES:
        raise ValueError(f"there is no quota {name[:60]!r}; there are {', '.join(NAMES)}")
    if value is None:
        if name in BOUNDED:
            raise ValueError(f"{name} cannot be without a quota; give a number")
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    most = MOST.get(name, _MOST)
    if not number or not 0 < value <= most:
        raise ValueError(f"{name} has to be a number above 0, {most:,.0f} at most" + _or_none(name))
    if name in COUNTS:
        if value != int(value):
            raise ValueError(f"{name} has to be a whole number")
        return int(value)
    return float(value)


def parsed(text: str) -> tuple[str, Value]:
    """`NAME=VALUE`, where `none` is no quota. Raises ValueError with a sentence."""
    name, separator, written = text.partition("=")
    if not separator:
        raise ValueError(f"{text[:60]!r} is not a quota: write NAME=VALUE, such as requests_per_second=100")
    name, written = name.strip(), written.strip()
    if written.lower() == "none":
        return name, checked(name, None)
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    return name, checked(name, value)


def merged(base: Quotas, over: Mapping[str, Value]) -> Quotas:
    """`base` with those of `over` in their place. A name that this host does not know is ignored."""
    known: dict[str, Any] = {name: value for name, value in over.items() if name in NAMES}
    return replace(base, **known)


def of_function(own: Value, tenants: Value) -> tuple[Value, bool]:
    """The quota that counts for a function which asks for `own`, None for nothing; whether it is its own: the lower one
    counts, also when the operator lowered the tenant's later on.
    """
    lowers = own is not None and (tenants is None or own <= tenants)
    return (own if lowers else tenants), lowers


def to_json(quotas: Quotas) -> dict[str, Value]:
    return asdict(quotas)


def _or_none(name: str) -> str:
    return "" if name in BOUNDED else ", or none"
