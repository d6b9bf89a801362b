"""The child process that checks, compiles and starts a component: `python -m host.sandbox.compile_child WASM ARTIFACT
...`.

Prints one JSON object: {"errors": [text], "handler": bool, "actors": [name], "sdk": text}. With errors nothing is
kept; without, ARTIFACT and its report have been written, each by an atomic rename. Exits non-zero only when the host
is at fault.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from host.confine.process import Mode, Needs, confine
from host.model.clock import SystemClock
from host.model.limits import LIMITS
from host.sandbox import memories, signature
from host.sandbox.call import NO_STORAGE
from host.sandbox.component import report_path
from host.sandbox.engine import Component, Engine, SandboxError
from host.sandbox.instance import DESCRIBE, Instance

DESCRIBE_WALL_S = 10.0
DESCRIPTION_BYTES_MAX = 64 << 10
REASONS_MAX = 50
COMPONENT_MAGIC, MODULE_MAGIC = b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0"
ACTOR_TYPE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


class _Describing:
    """Answers the few imports that a guest may use while it describes itself."""

    config = b'{"function":"","actor":null,"actors":[],"vars":{},"secrets":{}}'
    storage = NO_STORAGE
    clock = SystemClock()

    def __init__(self) -> None:
        self.world = self

    def log(self, level: str, message: str) -> None:
        """Nobody listens yet."""


def main(arguments: list[str]) -> int:
    wasm, artifact, mode = Path(arguments[0]), Path(arguments[1]), cast(Mode, arguments[5])
    memory_bytes_max, cpu_s, guest_memory_bytes_max = (int(text) for text in arguments[2:5])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes_max, memory_bytes_max))
    binary = wasm.read_bytes()
    confine(Needs(write=(artifact.parent,), owner=artifact.parent.stat().st_uid), mode)
    report: dict[str, Any] = {"errors": [], "handler": False, "actors": [], "sdk": ""}
    try:
        _check(binary, artifact, guest_memory_bytes_max, report)
    except _Refused as refused:
        report["errors"] = refused.reasons
    print(json.dumps(report))
    return 0


class _Refused(Exception):
    def __init__(self, *reasons: str) -> None:
        super().__init__(reasons)
        self.reasons = list(reasons)


def _check(binary: bytes, artifact: Path, guest_memory_bytes_max: int, report: dict[str, Any]) -> None:
    if binary.startswith(MODULE_MAGIC):
        raise _Refused("it is a core WebAssembly module, not a component: build it with this host's SDK")
    if not binary.startswith(COMPONENT_MAGIC):  # the library would read WebAssembly text as well
        raise _Refused("it is not a WebAssembly component: build it with this host's SDK")
    engine = Engine()
    try:
        pointer, machine_code = engine.compile(binary)
    except SandboxError as error:
        raise _Refused(f"the component does not compile: {_first_line(_cause(str(error)))}") from None
    problems = signature.problems(engine.pointer, pointer) + memories.problems(binary)
    if problems:
        more = [f"and {len(problems) - REASONS_MAX} more"] if len(problems) > REASONS_MAX else []
        raise _Refused(*(problem[:500] for problem in problems[:REASONS_MAX]), *more)
    component = Component(engine, pointer)
    description = _describe(engine, component, guest_memory_bytes_max)
    report["handler"] = bool(description.get("handler"))
    report["actors"] = [str(name) for name in description.get("actors", [])]
    report["sdk"] = "".join(c for c in str(description.get("sdk", ""))[:100] if c.isprintable())
    _write(artifact, machine_code)
    _write(report_path(artifact), json.dumps(report).encode())


def _describe(engine: Engine, component: Component, memory_bytes_max: int) -> dict[str, Any]:
    instance = Instance(engine, component, memory_bytes_max, LIMITS.table_elements_max)
    instance.call = _Describing()  # type: ignore[assignment]
    deadline = time.monotonic() + DESCRIBE_WALL_S
    try:
        for begin in (instance.begin_instantiation, lambda: instance.begin(DESCRIBE, ())):
            begin()
            while not instance.poll():
                if time.monotonic() > deadline:
                    raise _Refused(f"the component does not start: it was still busy after {DESCRIBE_WALL_S:g} s")
            if instance.trap is not None:
                raise _Refused(f"the component does not start: {_first_line(_cause(instance.trap))}")
        text = instance.take_description()
        if len(text) > DESCRIPTION_BYTES_MAX:
            raise ValueError
        description = json.loads(text)
        if not isinstance(description, dict) or not isinstance(description.get("actors", []), list):
            raise ValueError
        names = description.get("actors", [])
        if not all(isinstance(name, str) and ACTOR_TYPE.fullmatch(name) and len(name) <= 32 for name in names):
            raise ValueError
        return description
    except (ValueError, RecursionError):
        raise _Refused("the component does not describe itself as the contract asks (`describe`)") from None
    finally:
        instance.close()


def _cause(trap: str) -> str:
    return trap.split("Caused by:", 1)[-1].strip() or trap


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:500] if text.strip() else "no reason was given"


def _write(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.rename(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
