"""What the invoke room needs from above; `bindings` gives it."""

from __future__ import annotations

from collections.abc import Callable

from host.model.version import Version
from host.sandbox.ports import World

WorldOf = Callable[[Version], World]
"""What a handler of this version may reach."""
