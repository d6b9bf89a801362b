"""The rule by which old versions of a function go: what it says stays, the others may (`registry.pruning`)."""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS_MAX = 1_000
DAYS_MAX = 3_650


@dataclass(frozen=True, slots=True)
class Keep:
    """The newest `versions` stay, and what served within `days`."""

    versions: int = 10
    days: float = 7.0

    def __str__(self) -> str:
        """What stays."""
        return f"the newest {self.versions}" + (f", and what served within {self.days:g} days" if self.days else "")
