"""Builds `host/sandbox/_crossing.c` when the project is installed (a hook of its build backend).

Optional: without a C compiler or Python's headers the host runs without it, slower, and this says so.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("host/sandbox/_crossing.c")


class CrossingHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        source = Path(self.root) / SOURCE
        built = source.with_name("_crossing" + sysconfig.get_config_var("EXT_SUFFIX"))
        reason = compile_extension(source, built)
        if reason:
            built.unlink(missing_ok=True)
            self.app.display_warning(f"{SOURCE} is not built, the host will be slower: {reason}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(str(built.relative_to(self.root)))


def compile_extension(source: Path, built: Path) -> str:
    """Why it could not be built, or ""."""
    compiler = os.environ.get("CC") or "cc"
    headers = sysconfig.get_path("include")
    if sys.platform != "linux":
        return "it is for Linux"
    if not (Path(headers) / "Python.h").exists():
        return f"there is no Python.h in {headers} (Debian: python3-dev)"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    unfinished = built.with_suffix(".new")
    command = [
        *shlex.split(compiler), "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror=implicit",
        "-Wno-unused-parameter", f'-DSOURCE="{digest}"', f"-I{headers}", str(source), "-o", str(unfinished),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return f"no C compiler ({error.strerror}: {compiler})"
    if done.returncode:
        return done.stderr.strip()
    unfinished.replace(built)  # never a half-written file, and never one that a running host has mapped
    return ""
