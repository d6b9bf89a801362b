"""From a project's sources to one file the host takes: the component, and the bundle around it.

The compiler itself is the SDK's (`build.mjs` in the project's node_modules): the CLI finds Node, runs it, and turns
its JSON lines into progress. So a project is always built with the SDK version that its lock file names.

A *bundle* is a zip of exactly `tenure.toml` and `component.wasm`. It is made without timestamps, so the same build
gives the same bytes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host.cli.console import CliError, size
from host.cli.project import Project, read_text, with_function

NODE_MAJOR_MIN = 20
SDK_NAMES = ("@tenure/edge-runtime", "@telnyx/edge-runtime")
BUILD_TIMEOUT_S = 300.0
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Built:
    """A finished component."""

    component: Path
    byte_count: int
    seconds: float


def find_node() -> str:
    """Path of a Node.js that is new enough."""
    install = f"Install Node.js {NODE_MAJOR_MIN} or newer (https://nodejs.org) and try again."
    node = shutil.which("node")
    if node is None:
        raise CliError("Node.js is needed to build a function, and `node` is not on the PATH.", install)
    try:
        reply = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        raise CliError(f"{node} does not run.", install) from None
    match = re.match(r"v(\d+)\.", reply)
    if match is None or int(match[1]) < NODE_MAJOR_MIN:
        raise CliError(f"Node.js {reply.strip() or '(unknown version)'} is too old.", install)
    return node


def find_sdk(root: Path) -> Path:
    """Folder of the SDK that the project installed, in its own node_modules or one above (an npm workspace)."""
    for folder in (root, *root.parents):
        for name in SDK_NAMES:
            if (sdk := folder / "node_modules" / name / "build.mjs").is_file():
                return sdk.parent
    if not (root / "package.json").is_file():
        raise CliError(
            f"{root} has no package.json, so the SDK cannot be installed.",
            "Start from `tenure new-func --name NAME`, whose package.json you can copy.",
        )
    raise CliError(f"The packages of {root.name} are not installed.", f"Run `npm install` in {root}.")


def build(project: Project, tell: Callable[[str], None] = lambda _text: None) -> Built:
    """Compile the project's sources to a component. Raises CliError with the compiler's own words."""
    main = project.root / project.manifest.main
    if not main.is_file():
        raise CliError(f'{project.path.name} says main = "{project.manifest.main}", and there is no such file.')
    node, sdk = find_node(), find_sdk(project.root)
    output = project.build_folder / "component.wasm"
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [node, str(sdk / "build.mjs"), "--project", str(project.root), "--out", str(output)]
    command += ["--main", project.manifest.main, "--json"]
    if project.manifest.actors:
        command += ["--actors", ",".join(dict.fromkeys(actor.type for actor in project.manifest.actors))]
    began = time.monotonic()
    _run(command, project.root, tell)
    seconds = time.monotonic() - began
    try:
        return Built(output, output.stat().st_size, seconds)
    except FileNotFoundError:
        raise CliError("The build said it succeeded but wrote no component.", "Run `npm install` again.") from None


def write_bundle(project: Project, built: Built, function_id: str) -> Path:
    """Zip the component with the manifest, as the function `function_id`. Returns the bundle's path."""
    bundle = project.build_folder / "bundle.zip"
    text = with_function(read_text(project.path), function_id, project.function_name)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(_entry("tenure.toml"), text)
        archive.writestr(_entry("component.wasm"), built.component.read_bytes())
    return bundle


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _run(command: list[str], root: Path, tell: Callable[[str], None]) -> None:
    """Run the compiler, telling its steps; its stderr, and lines that are not JSON, are its complaint if it fails."""
    complaint: list[str] = []
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                note = _note(line)
                if note is None:
                    complaint.append(line.rstrip())
                elif "step" in note:
                    tell(_progress(note))
                elif "error" in note:
                    complaint.append(str(note["error"]))
            code = process.wait(BUILD_TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    if code != 0:
        text = "\n".join(line for line in complaint if line) or f"The compiler ended with code {code} and said nothing."
        raise CliError(f"The build failed.\n{text}", "Correct the source and build again.")


def _note(line: str) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _progress(note: dict[str, object]) -> str:
    count = note.get("bytes")
    return f"{note['step']} {size(count)}" if isinstance(count, int | float) else str(note["step"])
