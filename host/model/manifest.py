"""The manifest of a function: what `tenure.toml` (or `telnyx.toml`) says, checked and made immutable.

A person wrote the text, so reading it finds *all* mistakes before it refuses: `ManifestError.details` has one entry for
each, and an entry says where, what is wrong and what to write instead. What is merely odd (a key nobody reads) is a
warning. The rules live in the functions below, one for each table of the file; nothing here does I/O.

The host stores a manifest in the form of `manifest_to_json`, not as text: a version that was accepted once loads for
ever, whatever the rules for new ones have become.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from host.model.errors import ManifestError
from host.model.limits import LIMITS, TENANT_LIMITS, Limits, MiB, TenantLimits
from host.model.manifest_tables import (
    TOO_MANY,
    Findings,
    Table,
    binding_name,
    read_compatibility_date,
    read_name,
    shown,
    text_key,
    warn_unknown,
)
from host.model.quotas import DEFAULTS, OF_FUNCTION, Quotas, checked

ACTOR_TYPE_CHARS_MAX = 32
MANIFEST_BYTES_MAX = 512 << 10
ENTRIES_MAX = 100
"""At most this many [[actors]], and this many hosts in [outbound]."""
DOMAINS_MAX = 20

RESERVED_BINDINGS = frozenset({"SECRETS"})
SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
PLACEHOLDER_ID = "..."
"""What the documentation shows in place of a function id; read as if the key were absent."""

_KEY_PARTS_MAX = 100
# The TOML reader's time grows with the square of a dotted key's parts (measured: 8,000 parts take a second), so such
# text is refused unread. The look-behind keeps this search linear in the text.
_DEEP_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*\.[ \t]*)" + f"{{{_KEY_PARTS_MAX}}}"
)
_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_PATTERN = re.compile(rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_DOMAIN = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})+")
_FUNCTION_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_TOP_LEVEL = (
    "name", "main", "compatibility_date", "actors", "edge_compute", "env_vars", "secrets", "limits", "outbound",
    "domains",
)  # fmt: skip


class _LimitKey(NamedTuple):
    field: str
    scale: float


LIMIT_KEYS: Mapping[str, _LimitKey] = MappingProxyType(
    {
        "request_ms": _LimitKey("request_wall_s", 1000),
        "method_ms": _LimitKey("method_wall_s", 1000),
        "actor_fetch_ms": _LimitKey("actor_fetch_wall_s", 1000),
        "init_ms": _LimitKey("init_wall_s", 1000),
        "alarm_ms": _LimitKey("alarm_wall_s", 1000),
        "cpu_ms": _LimitKey("call_cpu_s", 1000),
        "memory_mb": _LimitKey("memory_bytes_max", 1 / MiB),
    }
)
"""Keys of [limits]: the field of `Limits` each one lowers, and how many of the key's units make one of the field's."""


class ActorBinding(NamedTuple):
    """One [[actors]] entry: the property on `env`, and the actor type it reaches."""

    binding: str
    type: str


class SecretBinding(NamedTuple):
    """One [[secrets]] entry: what `env.SECRETS.get` is asked for, and the name of the tenant's secret."""

    binding: str
    name: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked manifest. `limits` maps fields of `Limits` to the lowered value, in the field's own unit; `quotas` has
    what this function may use of its tenant's `Quotas`.
    """

    name: str
    main: str
    compatibility_date: str = ""
    actors: tuple[ActorBinding, ...] = ()
    func_id: str | None = None
    func_name: str | None = None
    env_vars: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: tuple[SecretBinding, ...] = ()
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    quotas: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    outbound_allow: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def apply_limits(self, base: Limits) -> Limits:
        """`base` with what this manifest lowers. It never raises a limit, even where `base` became lower later on."""
        if not self.limits:
            return base
        lowered = {name: min(value, getattr(base, name)) for name, value in self.limits.items()}
        return replace(base, **{name: type(getattr(base, name))(value) for name, value in lowered.items()})


def parse_manifest(
    text: str, *, limits: Limits = LIMITS, tenant_limits: TenantLimits = TENANT_LIMITS, quotas: Quotas = DEFAULTS
) -> tuple[Manifest, tuple[str, ...]]:
    """(manifest, warnings) of the text of a manifest file.

    Raises ManifestError, and nothing else, with one entry in `details` for every mistake.
    """
    root = Table(_load(text))
    found = Findings()
    warn_unknown(found, "", root, _TOP_LEVEL)
    taken: dict[str, str] = {}
    func_id, func_name = _read_edge_compute(found, root)
    manifest = Manifest(
        name=read_name(found, root),
        main=text_key(found, root, "main", example='main = "src/index.ts"') or "",
        compatibility_date=read_compatibility_date(found, root),
        actors=_read_actors(found, root, taken),
        func_id=func_id,
        func_name=func_name,
        env_vars=_read_env_vars(found, root, taken, tenant_limits),
        secrets=_read_secrets(found, root, taken, tenant_limits),
        limits=_read_limits(found, root, limits),
        quotas=_read_quotas(found, root, quotas),
        outbound_allow=_read_outbound(found, root),
        domains=_read_domains(found, root),
    )
    if found.mistakes:
        count = len(found.mistakes)
        summary = found.mistakes[0] if count == 1 else f"The manifest has {count} mistakes."
        raise ManifestError(summary, details=found.mistakes)
    return manifest, tuple(found.warnings)


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """A JSON-able form that `manifest_from_json` reads back to an equal manifest."""
    return {
        "name": manifest.name,
        "main": manifest.main,
        "compatibility_date": manifest.compatibility_date,
        "actors": [list(actor) for actor in manifest.actors],
        "func_id": manifest.func_id,
        "func_name": manifest.func_name,
        "env_vars": dict(manifest.env_vars),
        "secrets": [list(secret) for secret in manifest.secrets],
        "limits": dict(manifest.limits),
        "quotas": dict(manifest.quotas),
        "outbound_allow": list(manifest.outbound_allow),
        "domains": list(manifest.domains),
    }


def manifest_from_json(record: Mapping[str, Any]) -> Manifest:
    """The manifest of a stored record. Fields that a newer host added may be missing."""
    return Manifest(
        name=record["name"],
        main=record["main"],
        compatibility_date=record.get("compatibility_date", ""),
        actors=tuple(ActorBinding(*pair) for pair in record.get("actors", ())),
        func_id=record.get("func_id"),
        func_name=record.get("func_name"),
        env_vars=MappingProxyType(dict(record.get("env_vars", {}))),
        secrets=tuple(SecretBinding(*pair) for pair in record.get("secrets", ())),
        limits=MappingProxyType(dict(record.get("limits", {}))),
        quotas=MappingProxyType(dict(record.get("quotas", {}))),
        outbound_allow=tuple(record.get("outbound_allow", ())),
        domains=tuple(record.get("domains", ())),
    )


def _load(text: str) -> dict[str, Any]:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MANIFEST_BYTES_MAX:
        raise ManifestError(
            f"The manifest has {size:,} bytes; at most {MANIFEST_BYTES_MAX:,} are read. Move data out of [env_vars]."
        )
    if _DEEP_KEY.search(text):
        raise ManifestError(f"The manifest has a key of more than {_KEY_PARTS_MAX} dotted parts; no such key exists.")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ManifestError("The manifest is not valid TOML: its arrays or tables are nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError is one; a number of thousands of digits is a plain one
        raise ManifestError(f"The manifest is not valid TOML: {error}.") from None


def _read_actors(found: Findings, root: Table, taken: dict[str, str]) -> tuple[ActorBinding, ...]:
    actors = []
    for where, entry in root.tables(found, "actors", example='binding = "ACCOUNT", type = "Account"'):
        warn_unknown(found, where, entry, ("binding", "type"))
        binding = text_key(found, entry, "binding", where, example='binding = "ACCOUNT"')
        actor_type = text_key(found, entry, "type", where, example='type = "Account"')
        if binding is not None:
            binding_name(found, where, "binding", binding, taken, RESERVED_BINDINGS)
        if actor_type is not None:
            _check_actor_type(found, where, actor_type)
        if binding is not None and actor_type is not None:
            actors.append(ActorBinding(binding, actor_type))
    if len(actors) > ENTRIES_MAX:
        found.mistake(TOO_MANY.format(where="[[actors]]", count=len(actors), most=ENTRIES_MAX))
    return tuple(actors)


def _check_actor_type(found: Findings, where: str, actor_type: str) -> None:
    if binding_name(found, where, "type", actor_type) and len(actor_type) > ACTOR_TYPE_CHARS_MAX:
        found.mistake(
            f"{where} type: {actor_type!r} has {len(actor_type)} characters; "
            f"rename the class to at most {ACTOR_TYPE_CHARS_MAX}."
        )


def _read_edge_compute(found: Findings, root: Table) -> tuple[str | None, str | None]:
    where = "[edge_compute]"
    table = root.table(found, "edge_compute", example='func_id = "..."')
    warn_unknown(found, where, table, ("func_id", "func_name"))
    func_id = text_key(found, table, "func_id", where, required=False)
    if func_id == PLACEHOLDER_ID:
        found.warn(f'{where} func_id is the placeholder "{PLACEHOLDER_ID}"; write the id that `new-func` printed.')
        func_id = None
    if func_id is not None and not _FUNCTION_ID.fullmatch(func_id):
        found.mistake(f"{where} func_id: {func_id[:60]!r} is not a function id; write the id that `new-func` printed.")
    return func_id, text_key(found, table, "func_name", where, required=False)


def _read_env_vars(found: Findings, root: Table, taken: dict[str, str], limits: TenantLimits) -> Mapping[str, str]:
    where = "[env_vars]"
    table = root.table(found, "env_vars", example='GREETING = "hello"')
    env_vars: dict[str, str] = {}
    for name, value in table.items():
        if not binding_name(found, where, "name", name, taken, RESERVED_BINDINGS):
            continue
        if not isinstance(value, str):
            found.mistake(f'{where} {name}: values are strings; write {name} = "..." in quotes.')
            continue
        size = len(value.encode())
        if size > limits.env_var_bytes_max:
            found.mistake(
                f"{where} {name}: the value has {size:,} bytes; shorten it to at most {limits.env_var_bytes_max:,}."
            )
        env_vars[name] = value
    if len(table) > limits.env_vars_max:
        found.mistake(TOO_MANY.format(where=where, count=len(table), most=limits.env_vars_max))
    return MappingProxyType(env_vars)


def _read_secrets(
    found: Findings, root: Table, taken: dict[str, str], limits: TenantLimits
) -> tuple[SecretBinding, ...]:
    secrets = []
    for where, entry in root.tables(found, "secrets", example='binding = "API_KEY", name = "stripe-key"'):
        warn_unknown(found, where, entry, ("binding", "name"))
        binding = text_key(found, entry, "binding", where, example='binding = "API_KEY"')
        name = text_key(found, entry, "name", where, example='name = "stripe-key"')
        if binding is not None:
            binding_name(found, where, "binding", binding, taken)
        if name is not None and not SECRET_NAME.fullmatch(name):
            found.mistake(
                f"{where} name: {shown(name)} cannot be a secret's name; write at most 128 letters, digits, dots, "
                "hyphens and underscores, beginning with a letter or digit."
            )
        if binding is not None and name is not None:
            secrets.append(SecretBinding(binding, name))
    if len(secrets) > limits.secrets_max:
        found.mistake(TOO_MANY.format(where="[[secrets]]", count=len(secrets), most=limits.secrets_max))
    return tuple(secrets)


def _read_limits(found: Findings, root: Table, limits: Limits) -> Mapping[str, float]:
    where = "[limits]"
    table = root.table(found, "limits", example="request_ms = 5000")
    warn_unknown(found, where, table, (*LIMIT_KEYS, *OF_FUNCTION))
    lowered: dict[str, float] = {}
    for key, (name, scale) in LIMIT_KEYS.items():
        if key not in table:
            continue
        value = table[key]
        most = getattr(limits, name) * scale
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            found.mistake(f"{where} {key}: it must be a number above 0, such as {key} = {most:.0f}.")
        elif value > most:
            found.mistake(f"{where} {key}: {value:,} is over this host's limit; write at most {most:.0f}.")
        else:
            lowered[name] = value / scale
    return MappingProxyType(lowered)


def _read_quotas(found: Findings, root: Table, quotas: Quotas) -> Mapping[str, float]:
    """What [limits] has besides limits; that it is a table was seen to before."""
    written = root.get("limits")
    table: dict[str, Any] = written if isinstance(written, dict) else {}
    lowered: dict[str, float] = {}
    for name in OF_FUNCTION:
        if name not in table:
            continue
        most = getattr(quotas, name)
        try:
            value = checked(name, table[name])
        except ValueError as error:
            found.mistake(f"[limits] {error}.")
            continue
        if value is None or (most is not None and value > most):
            found.mistake(f"[limits] {name}: {table[name]:,} is over your quota; write at most {most:,}.")
        else:
            lowered[name] = value
    return MappingProxyType(lowered)


def _read_outbound(found: Findings, root: Table) -> tuple[str, ...]:
    where = "[outbound]"
    table = root.table(found, "outbound", example='allow = ["api.example.com"]')
    warn_unknown(found, where, table, ("allow",))
    value = table.get("allow", [])
    if not isinstance(value, list):
        found.mistake(f'{where} allow: it must be a list of host names, such as allow = ["api.example.com"].')
        return ()
    allow = []
    for index, item in enumerate(value, 1):
        host = item.lower() if isinstance(item, str) else ""
        if len(host) > 255 or not _HOST_PATTERN.fullmatch(host):
            found.mistake(
                f"{where} allow, entry {index}: {str(item)[:80]!r} is not a host name; write the name alone, without "
                'scheme, port or path: "api.example.com", or "*.example.org" for all names below it.'
            )
        allow.append(host)
    if len(allow) > ENTRIES_MAX:
        found.mistake(TOO_MANY.format(where=f"{where} allow", count=len(allow), most=ENTRIES_MAX))
    return tuple(allow)


def _read_domains(found: Findings, root: Table) -> tuple[str, ...]:
    domains: dict[str, None] = {}
    for where, entry in root.tables(found, "domains", example='name = "shop.example.com"'):
        warn_unknown(found, where, entry, ("name",))
        text = text_key(found, entry, "name", where, example='name = "shop.example.com"')
        if text is None:
            continue
        name = text.lower().removesuffix(".")
        if len(name) > 253 or not _DOMAIN.fullmatch(name) or name.rpartition(".")[2].isdigit():
            found.mistake(
                f"{where} name: {shown(text)} is not a host name; write the name alone, in ASCII (`xn--...` for other "
                'letters), without scheme, port, path or `*`, such as "shop.example.com".'
            )
        elif name in domains:
            found.mistake(f"{where} name: {shown(name)} is there twice; name it once.")
        domains[name] = None
    if len(domains) > DOMAINS_MAX:
        found.mistake(TOO_MANY.format(where="[[domains]]", count=len(domains), most=DOMAINS_MAX))
    return tuple(domains)
