"""The compiled components that this process has mapped: each artifact once, however many instances run it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from host.model.limits import Limits
from host.sandbox.engine import Component, Engine, SandboxError
from host.sandbox.instance import Instance


class Library:
    """Makes instances. Mapping an artifact takes about a millisecond, so it happens when the first one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._components: dict[str, Component] = {}

    def instance(self, artifact: str, limits: Limits) -> Instance:
        """A new instance, not yet instantiated. Raises SandboxError or OSError when the artifact cannot be used."""
        component = self._components.get(artifact)
        if component is None:
            component = self._components[artifact] = load(self.engine, Path(artifact))
        return Instance(self.engine, component, limits.memory_bytes_max, limits.table_elements_max)

    def retire(self, artifact: str) -> None:
        """No new instances of it: it is unmapped when the last one is closed. It may be asked for again."""
        component = self._components.pop(artifact, None)
        if component is not None:
            component.release()

    def close(self) -> None:
        for artifact in list(self._components):
            self.retire(artifact)


def load(engine: Engine, artifact: Path) -> Component:
    """Map a compiled component. Raises SandboxError when the file is not this user's alone, or not usable."""
    status = artifact.stat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise SandboxError("a compiled component is writable by others: it will not be loaded")
    return engine.load(artifact)
