"""Starting the nursery (`supervisor.nursery`), which takes longer to import what workers need than all else that a host
does before it serves. So this is the first thing that `tenure serve` does, and imports little itself.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from host.confine import environment

_PACKAGES = Path(__file__).resolve().parents[2]


class Launched(NamedTuple):
    """The nursery's process, and the control process's end of the pair. It ends when that is closed."""

    module: str
    process: subprocess.Popen[bytes]
    sock: socket.socket


def launch(module: str) -> Launched:
    """Run `module` as a program with the number of its end of the pair as the only argument. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # what a terminal says to the control process is not said to workers
            env={**environment.kept(os.environ), "PYTHONPATH": str(_PACKAGES)},
        )
    ours.setblocking(False)
    return Launched(module, process, ours)
