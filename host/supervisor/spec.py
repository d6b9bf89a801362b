"""What one worker process is started with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_FOLDER = "run"
"""In the data folder: the socket files of the processes that run on it (mode 0700)."""

EGRESS_SOCKET = "egress.sock"
"""In the run folder: where workers reach the egress process."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`token` tells it from all others that had, or will have, its slot. `config` is the host's, as JSON; `layout` are
    the fields of `storage.layout.Layout`; `version` is that of the program.
    """

    slot: int
    token: str
    config: dict[str, Any]
    layout: tuple[int, str]
    version: str

    @property
    def control_path(self) -> Path:
        """Where the control process reaches it."""
        return self.run / f"worker-{self.slot}-{self.token}.sock"

    @property
    def peer_path(self) -> Path:
        """Where other workers reach it."""
        return self.run / f"peer-{self.slot}-{self.token}.sock"

    @property
    def door_path(self) -> Path:
        """Where the control process brings it connections (`cluster.door`)."""
        return self.run / f"door-{self.slot}-{self.token}.sock"

    @property
    def run(self) -> Path:
        return Path(self.config["data_dir"]) / RUN_FOLDER

    def same_but_for_token(self, other: Spec) -> bool:
        return dataclasses.replace(self, token="") == dataclasses.replace(other, token="")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Spec:
        return cls(**{**stored, "layout": tuple(stored["layout"])})
