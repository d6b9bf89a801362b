"""Which host the CLI talks to and with which key: environment first, then the stored file, then the default.

The file is `$TENURE_CONFIG`, else `$XDG_CONFIG_HOME/tenure/config.json`, else `~/.config/tenure/config.json`.
Shape: {"endpoint": URL, "api_key": text}, both optional. It holds a secret, so it is only ever written with mode
0600, and replaced whole: a crash leaves the old file or the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from host.cli.console import CliError

DEFAULT_ENDPOINT = "http://127.0.0.1:8788"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one command runs with. `key_source` names where the key came from, "" when there is none."""

    endpoint: str
    api_key: str
    key_source: str
    path: Path


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    if given := environ.get("TENURE_CONFIG"):
        return Path(given)
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "tenure" / "config.json"


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. Raises CliError when the stored file cannot be read or the endpoint is not a URL."""
    path = config_path(environ)
    stored = _read(path)
    endpoint = check_endpoint(environ.get("TENURE_ENDPOINT") or stored.get("endpoint") or DEFAULT_ENDPOINT)
    if key := environ.get("TENURE_API_KEY"):
        return Settings(endpoint, key.strip(), "TENURE_API_KEY", path)
    key = stored.get("api_key", "")
    return Settings(endpoint, key, str(path) if key else "", path)


def check_endpoint(text: str) -> str:
    """The endpoint without a trailing slash. Raises CliError when it is not an http(s) URL."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise CliError(f"'{text}' is not the URL of a host.", f"Write it like {DEFAULT_ENDPOINT} (TENURE_ENDPOINT).")
    return text.rstrip("/")


def store(path: Path, *, api_key: str | None, endpoint: str | None = None) -> None:
    """Write the key (None removes it) and, when given, the endpoint; other entries of the file are kept."""
    stored = _read(path)
    stored.pop("api_key", None)
    if api_key is not None:
        stored["api_key"] = api_key
    if endpoint is not None:
        stored["endpoint"] = check_endpoint(endpoint)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(stored, file, indent=2)
            file.write("\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CliError(
            f"Cannot write {path}: {error.strerror}.", "Set TENURE_CONFIG to a file you can write."
        ) from None


def masked(key: str) -> str:
    """Enough of a key to recognise it, never enough to use it."""
    return f"{key[:4]}…{key[-4:]}" if len(key) >= 16 else "…"


def _read(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.", "Set TENURE_CONFIG to a file you can read.") from None
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise CliError(f"{path} is not a Tenure configuration.", "Delete it and run `tenure auth api-key set KEY`.")
    return value
