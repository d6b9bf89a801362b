"""A project folder: where it begins, what its manifest says, and which function of the host it is.

`tenure.toml` and `telnyx.toml` mean the same; with both, `tenure.toml` counts and a warning says so. The CLI changes
one thing in a manifest, `[edge_compute]`, and keeps the user's comments and layout while doing it.
"""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.cli.console import CliError, warn
from host.model.errors import ManifestError
from host.model.manifest import PLACEHOLDER_ID, Manifest, parse_manifest

MANIFEST_NAMES = ("tenure.toml", "telnyx.toml")
STATE_FOLDER = ".tenure"


@dataclass(frozen=True, slots=True)
class Project:
    """`root` holds the manifest file `path`.

    `function_id` is "" until the project is registered with a host; `lost_id` is true when the manifest has the
    documentation's placeholder where an id was, as after pasting a page's manifest whole.
    """

    root: Path
    path: Path
    manifest: Manifest
    lost_id: bool = False

    @property
    def function_id(self) -> str:
        return self.manifest.func_id or ""

    @property
    def function_name(self) -> str:
        return self.manifest.func_name or self.manifest.name

    @property
    def build_folder(self) -> Path:
        return self.root / STATE_FOLDER / "build"


def find_manifest(start: Path) -> Path:
    """The manifest of the project that `start` is in: its own folder or the nearest one above."""
    start = start.resolve()
    for folder in (start, *start.parents):
        found = [folder / name for name in MANIFEST_NAMES if (folder / name).is_file()]
        if len(found) > 1:
            warn(f"{folder} has both tenure.toml and telnyx.toml; tenure.toml is used.")
        if found:
            return found[0]
    raise CliError(
        f"{start} is not a project: there is no tenure.toml or telnyx.toml here or in a folder above.",
        "Go to your project's folder, or make one with `tenure new-func --name NAME`.",
    )


def load(start: Path) -> Project:
    """The project around `start`. Raises CliError naming every mistake of its manifest."""
    path = find_manifest(start)
    text = read_text(path)
    lost_id = _has_placeholder(text)
    try:
        manifest, warnings = parse_manifest(_without_id(text) if lost_id else text)
    except ManifestError as error:
        raise CliError(f"{path.name} cannot be used:", more=error.details) from None
    for warning in warnings:
        warn(f"{path.name}: {warning}")
    return Project(path.parent, path, manifest, lost_id)


def with_function(text: str, function_id: str, function_name: str) -> str:
    """The manifest's text with `[edge_compute]` naming this function; everything else stays as it was written."""
    import tomlkit

    document = tomlkit.parse(text)
    table = document.get("edge_compute")
    if not isinstance(table, MutableMapping):
        table = tomlkit.table()
        document["edge_compute"] = table
    _set(table, "func_id", function_id)
    _set(table, "func_name", function_name)
    return tomlkit.dumps(document)


def write_function(path: Path, function_id: str, function_name: str) -> None:
    """Write the function's id and name into the manifest file."""
    text = with_function(read_text(path), function_id, function_name)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CliError(
            f"Cannot write {path}: {error.strerror}.", f'Add func_id = "{function_id}" under [edge_compute] by hand.'
        ) from None


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CliError(f"Cannot read {path}: {reason}.") from None


def _has_placeholder(text: str) -> bool:
    try:
        return bool(tomllib.loads(text)["edge_compute"]["func_id"] == PLACEHOLDER_ID)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False  # whatever else is wrong with it, the manifest's own check says it better


def _without_id(text: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    table = document["edge_compute"]
    assert isinstance(table, MutableMapping)
    del table["func_id"]
    return tomlkit.dumps(document)


def _set(table: MutableMapping[str, Any], key: str, value: str) -> None:
    """Assign in place, so that a comment behind the old value stays."""
    if table.get(key) != value:
        table[key] = value
