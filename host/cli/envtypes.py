"""The types of `env` for a project, written from its manifest: actor namespaces, environment variables, secrets.

They are one declaration file beside the entry point, `tenure-env.d.ts`, with a global interface `Env`. A project that
declares an `Env` of its own keeps it: a module's declaration hides the global one.

An actor namespace has the methods of the class that the entry point exports. Whether it exports one is asked in the
type itself, so the file stays true while classes come and go, and only a change of the manifest makes it stale.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from host.cli.building import SDK_NAMES
from host.cli.console import CliError
from host.cli.project import Project, read_text
from host.model.manifest import ActorBinding, Manifest

FILE_NAME = "tenure-env.d.ts"

_TYPED_ENTRIES = {".ts": ".js", ".tsx": ".js", ".mts": ".mjs"}
"""Ending of an entry point that has types -> the ending that an import names it with."""

_FILE = """\
// Written by `tenure types` from {manifest}. Run it again when that changes; what you write here is lost.
{head}
declare global {{
  /** What {manifest} gives to the handler and the actors. */
  interface Env {{
{members}
  }}
}}

export {{}};
"""
_IMPORT = 'import type {{ ActorNamespace }} from "{sdk}";\n'
_EXPORTED = """
/** The actor class of this name if the entry point exports it; the methods of another function's are not known here. */
type Exported<Name extends string> =
  typeof import("{entry}") extends Record<Name, abstract new (...args: any[]) => infer Actor> ? Actor : unknown;
"""


def path_in(project: Project) -> Path:
    """Where the project's file is: beside its entry point, because that folder is one that TypeScript looks at."""
    return (project.root / project.manifest.main).parent / FILE_NAME


def write(project: Project) -> Path:
    """Write the project's file and return its path. Raises CliError."""
    path = path_in(project)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(project.manifest, project.path.name, sdk_name(project.root)), encoding="utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}.") from None
    return path


def is_current(project: Project) -> bool:
    path = path_in(project)
    return path.is_file() and read_text(path) == render(project.manifest, project.path.name, sdk_name(project.root))


def sdk_name(root: Path) -> str:
    """The name under which the project's package.json has the SDK."""
    try:
        package = json.loads((root / "package.json").read_text(encoding="utf-8"))
        named = {**package.get("devDependencies", {}), **package.get("dependencies", {})}
    except (OSError, ValueError, AttributeError, TypeError):
        named = {}
    return next((name for name in SDK_NAMES if name in named), SDK_NAMES[0])


def render(manifest: Manifest, manifest_name: str, sdk: str) -> str:
    """The whole file for a manifest, which the file `manifest_name` holds; `sdk` is the module of the SDK's types."""
    entry = PurePosixPath(manifest.main)
    ending = _TYPED_ENTRIES.get(entry.suffix)
    head = _IMPORT.format(sdk=sdk) if manifest.actors else ""
    if manifest.actors and ending is not None:
        head += _EXPORTED.format(entry=f"./{entry.stem}{ending}")
    bindings = " | ".join(f'"{secret.binding}"' for secret in manifest.secrets) or "never"
    members = [
        *(_actors(actor, typed=ending is not None) for actor in manifest.actors),
        *(f"readonly {name}: string;" for name in manifest.env_vars),
        "/** Values are stored with `tenure secrets add`; undefined as long as there is none. */",
        f"readonly SECRETS: {{ get(binding: {bindings}): Promise<string | undefined> }};",
    ]
    return _FILE.format(manifest=manifest_name, head=head, members="\n".join(f"    {member}" for member in members))


def _actors(actor: ActorBinding, *, typed: bool) -> str:
    methods = f'<Exported<"{actor.type}">>' if typed else ""
    return f"readonly {actor.binding}: ActorNamespace{methods};"
