"""What a control process finds of the workers that one before it left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.supervisor import adoption

LISTENS = """
import socket, sys
there = socket.socket(socket.AF_UNIX)
there.bind(sys.argv[1])
there.listen()
print("listens", flush=True)
there.accept()
print("asked", flush=True)
sys.stdin.read()
"""


@contextmanager
def mute_worker(socket: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that listens at `socket` and says nothing there."""
    command = [sys.executable, "-c", LISTENS, str(socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert _line(process) == "listens\n"
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def test_a_worker_that_dies_while_it_is_asked_is_not_waited_for(tmp_path: Path) -> None:
    socket = tmp_path / "worker-1.sock"
    with mute_worker(socket) as dying:
        finding = asyncio.create_task(adoption.find(tmp_path))
        assert await asyncio.to_thread(_line, dying) == "asked\n"
        dying.kill()
        killed = time.monotonic()
        assert await finding == []
        assert time.monotonic() - killed < adoption.ANSWER_S / 2
    assert not socket.exists()


def test_socket_files_that_nobody_listens_at_are_removed(tmp_path: Path) -> None:
    with mute_worker(tmp_path / "worker-1.sock"):
        pass
    for name in ("peer-1.sock", "door-1.sock", "other"):
        (tmp_path / name).touch()
    assert asyncio.run(adoption.find(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
