"""How a worker gets its connections: from whom, to what, and what becomes of those who ask when nobody is there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.cluster.door import AtDoor, Door, at_door
from host.cluster.link import Link, Reply
from host.cluster.peer import Peer, bound, listen
from tests.kit.until import wait_until

DEADLINE_S = 10.0


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path / "door-0-0a.sock")
    door.open()
    yield door
    door.close()


async def test_a_peer_is_reached_over_a_connection_that_was_brought_to_the_door(door: Door, tmp_path: Path) -> None:
    def echo(_link: Link, payload: bytes, reply: Reply) -> None:
        reply(payload)

    path = tmp_path / "peer-1-0b.sock"
    listener = await listen(path, 1, {32: echo})
    keeper = AtDoor(tmp_path / "door-0-0a.sock")
    peer = Peer(path, 0, {}, dial=door.connect)
    peer.start()
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    peer.request(32, b"hello", answered.set_result)
    assert await asyncio.wait_for(answered, DEADLINE_S) == b"hello"
    await peer.close()
    keeper.close()
    listener.close()


@pytest.mark.parametrize("name", [
    "control.sock", "worker-1-0b.sock", "door-1-0b.sock", "../peer-1-0b.sock", "peer-1-0b.sock.new", "",
])  # fmt: skip
async def test_only_what_workers_need_is_brought(tmp_path: Path, name: str) -> None:
    """This test asks as a worker that was taken over could."""
    path = tmp_path / "run" / "door-0-0a.sock"
    path.parent.mkdir()
    with bound(path, socket.SOCK_SEQPACKET) as door, bound(path.parent / (name or "none")):
        keeper = AtDoor(path)
        there, _ = door.accept()
        there.send(f"1 {name}".encode())
        replied = asyncio.Event()
        asyncio.get_running_loop().add_reader(there, replied.set)
        await asyncio.wait_for(replied.wait(), DEADLINE_S)
        asyncio.get_running_loop().remove_reader(there)
        data, descriptors, _, _ = socket.recv_fds(there, 100, 1)
        assert (data, descriptors) == (b"1 workers get no connection to that", [])
        keeper.close()
        there.close()


async def test_who_asks_when_nobody_is_at_the_door_or_leaves_it_is_told(door: Door, tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        await door.connect(tmp_path / "peer-1-0b.sock")
    with at_door(tmp_path / "door-0-0a.sock"):  # says nothing, and goes
        await wait_until(lambda: door._there is not None, "somebody at the door")
        asked = asyncio.create_task(door.connect(tmp_path / "peer-1-0b.sock"))
        await wait_until(lambda: bool(door._asked), "the question")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(asked, DEADLINE_S)


async def test_an_answer_that_comes_too_late_is_not_taken_for_that_of_another_question(
    door: Door, tmp_path: Path
) -> None:
    with (
        at_door(tmp_path / "door-0-0a.sock") as there,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        await wait_until(lambda: door._there is not None, "somebody at the door")
        given_up = asyncio.create_task(door.connect(tmp_path / "peer-1-0b.sock"))
        await wait_until(lambda: bool(door._asked), "the question")
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        asked = asyncio.create_task(door.connect(tmp_path / "peer-2-0c.sock"))
        await wait_until(lambda: bool(door._asked), "the second question")
        assert [there.recv(100), there.recv(100)] == [b"1 peer-1-0b.sock", b"2 peer-2-0c.sock"]
        second.bind(str(tmp_path / "second"))
        socket.send_fds(there, [b"1"], [first.fileno()])
        socket.send_fds(there, [b"2"], [second.fileno()])
        with await asyncio.wait_for(asked, DEADLINE_S) as got:
            assert got.getsockname() == str(tmp_path / "second")
