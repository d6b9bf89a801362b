"""From a project folder to a component and a bundle, building each state of the sources only once.

A component is kept under the hash of everything that goes into it, the project's files and the SDK's, so it is built
again exactly when one of them changed, and not at all in the next session.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from host.model.manifest import Manifest, parse_manifest
from tests.kit.artifacts import CACHE, making

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "guest_sdk" / "typescript"
WIT = ROOT / "guest_sdk" / "wit"

_NOT_SOURCES = {"node_modules", "dist", "build", ".tenure", "test", "tests", "__pycache__"}
_BUILD_DEADLINE_S = 180.0


def manifest_text(project: Path) -> str:
    for name in ("tenure.toml", "telnyx.toml"):
        if (path := project / name).is_file():
            return path.read_text()
    raise FileNotFoundError(f"{project} has no tenure.toml")


def manifest_of(project: Path) -> Manifest:
    return parse_manifest(manifest_text(project))[0]


def component_of(project: Path) -> Path:
    """Path of the project's component, built by the SDK if this state of the sources has none yet."""
    key = _digest(project)
    target = CACHE / f"{project.name}-{key[:32]}.wasm"
    if target.is_file():
        return target
    with making(target) as missing:
        if missing:
            _build(project, target)
    return target


def _build(project: Path, target: Path) -> None:
    fresh = target.with_suffix(f".{os.getpid()}.wasm")
    command = [_node(), str(SDK / "build.mjs"), "--project", str(project), "--out", str(fresh)]
    command += ["--main", manifest_of(project).main]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S)
    if done.returncode != 0:
        raise AssertionError(f"building {project.name} failed:\n{done.stdout}\n{done.stderr}")
    os.replace(fresh, target)
    fresh.with_name(f"{fresh.name}.map").unlink()  # it is in the component as well


def bundle_of(project: Path, function_id: str, function_name: str, extra: str = "") -> bytes:
    """The project as one function's bundle, with more lines of TOML in its manifest."""
    text = manifest_text(project) + extra
    if "[edge_compute]" not in text:
        text += f'\n[edge_compute]\nfunc_id = "{function_id}"\nfunc_name = "{function_name}"\n'
    return zip_of({"tenure.toml": text.encode(), "component.wasm": component_of(project).read_bytes()})


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip of `files`, by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise AssertionError("building guests needs Node.js 20 or newer on the PATH")
    return node


def _digest(project: Path) -> str:
    digest = hashlib.sha256()
    for root in (project, SDK, WIT):
        for path in _sources(root):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - _NOT_SOURCES)
        for name in sorted(files):
            yield Path(folder) / name
