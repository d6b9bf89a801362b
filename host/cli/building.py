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
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host.cli.console import CliError, size, warn
from host.cli.project import Project, read_text, with_function

NODE_MAJOR_MIN = 20
SDK_NAMES = ("@tenure/edge-runtime", "@telnyx/edge-runtime")
BUILD_TIMEOUT_S = 300.0
_COMPLAINT_LINES_MAX = 40
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
    """Run the compiler, telling its steps. What it writes to stderr is warnings, or its complaint when it fails."""
    with tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8"
        ) as process:
            assert process.stdout is not None
            watchdog = threading.Timer(BUILD_TIMEOUT_S, process.kill)
            watchdog.start()
            try:
                for line in process.stdout:
                    tell(_progress(line))
                code = process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                watchdog.cancel()
        stderr.seek(0)
        said = stderr.read().decode("utf-8", "replace").strip()
    if code < 0:
        raise CliError(f"The build was stopped by signal {-code} (it may take {BUILD_TIMEOUT_S:.0f} s at most).")
    if code != 0:
        lines = said.splitlines() or [f"The compiler ended with code {code} and said nothing."]
        raise CliError("The build failed:", "Correct this and try again.", more=lines[-_COMPLAINT_LINES_MAX:])
    for line in said.splitlines():
        if line.startswith("warning: "):
            warn(line.removeprefix("warning: "))


def _progress(line: str) -> str:
    """What one JSON line of the compiler means to a person: {"step", "ms", "bytes"} is `component 1.1 MB`."""
    try:
        note = json.loads(line)
        return f"{note['step']} {size(note['bytes'])}"
    except (ValueError, KeyError, TypeError):
        return ""
