"""The links between a host's processes, over real sockets and, where one dies, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from host.cluster import link as links
from host.cluster.link import Link, LinkError, LinkFault, LinkLost, LinkRefused, Reply
from host.cluster.peer import Listener, Peer, listen
from tests.kit.until import wait_until

ECHO, KEEP, TOLD, BAD = 100, 101, 102, 103
ROOT = Path(__file__).parents[2]


class Other:
    """What the other end has seen, in order, and the replies that it owes."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.owed: list[Reply] = []
        self.handlers = {ECHO: self._echo, KEEP: self._keep, TOLD: self._told, BAD: self._bad}

    def _echo(self, link: Link, payload: bytes, reply: Reply) -> None:
        self.seen.append(payload)
        reply(payload)

    def _keep(self, link: Link, payload: bytes, reply: Reply) -> None:
        self.seen.append(payload)
        self.owed.append(reply)

    def _told(self, link: Link, payload: bytes, reply: Reply) -> None:
        self.seen.append(payload)
        reply(b"nobody waits for this")

    def _bad(self, link: Link, payload: bytes, reply: Reply) -> None:
        raise RuntimeError("a secret of this process")


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Peer, Other, Listener]]:
    """A peer with an open link to worker 1, in this process."""
    other = Other()
    listener = await listen(tmp_path / "worker-1.sock", 1, other.handlers)
    peer = Peer(tmp_path / "worker-1.sock", 0, {})
    peer.start()
    try:
        await wait_until(lambda: peer.link is not None, "a link")
        yield peer, other, listener
    finally:
        await peer.close()
        listener.close()


def asked(ask: Callable[[int, bytes, links.Done], None], kind: int, payload: bytes) -> asyncio.Future[bytes]:
    """A request as a future; a second outcome raises InvalidStateError, which fails the test through the log."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(outcome: bytes | LinkError) -> None:
        if isinstance(outcome, LinkError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    ask(kind, payload, done)
    return future


async def test_both_ends_know_each_others_number(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, _, listener):
        await wait_until(lambda: listener.links, "the other end")
        assert peer.link is not None
        assert (peer.link.peer, [one.peer for one in listener.links]) == (1, [0])


async def test_requests_and_posts_arrive_in_the_order_made_and_replies_find_their_requests(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, other, _):
        replies = []
        for number in range(1000):
            payload = b"%d" % number * (number % 50)
            if number % 3:
                replies.append((payload, asked(peer.request, ECHO, payload)))
            else:
                peer.post(TOLD, payload)
        for payload, reply in replies:
            assert await reply == payload
        assert other.seen == [b"%d" % number * (number % 50) for number in range(1000)]


async def test_replies_may_come_in_any_order(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, other, _):
        first, second = asked(peer.request, KEEP, b"1"), asked(peer.request, KEEP, b"2")
        await wait_until(lambda: len(other.owed) == 2, "both requests")
        other.owed[1](b"second")
        assert await second == b"second"
        assert not first.done()
        other.owed[0](b"first")
        assert await first == b"first"


async def test_the_listening_end_may_ask_too(tmp_path: Path) -> None:
    asking = Other()
    listener = await listen(tmp_path / "s", 1, {})
    peer = Peer(tmp_path / "s", 0, asking.handlers)
    peer.start()
    await wait_until(lambda: listener.links, "a link")
    (link,) = listener.links
    assert await asked(link.request, ECHO, b"back") == b"back"
    await peer.close()
    listener.close()


async def test_frames_of_many_megabytes_cross_in_both_directions(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, _, _):
        payloads = [os.urandom(size) for size in (0, 1, 8, 9, 65_536, 1 << 20, 20 << 20, 3)]
        replies = [asked(peer.request, ECHO, payload) for payload in payloads]
        assert await asyncio.gather(*replies) == payloads


async def test_a_frame_cut_anywhere_is_put_together_again() -> None:
    other = Other()
    link = Link(1, other.handlers, lambda link: None, lambda link: None)
    link.connection_made(_Sink())
    frames = links._HEADER.pack(6, links.HELLO, 0) + links._HELLO.pack(links.VERSION, 0)
    frames += b"".join(links._HEADER.pack(len(each), TOLD, 0) + each for each in (b"", b"abc", b"d" * 300))
    for at in range(len(frames)):
        link.data_received(frames[at : at + 1])
    assert other.seen == [b"", b"abc", b"d" * 300]


async def test_the_messages_of_one_round_leave_in_one_send() -> None:
    sink = _Sink()
    link = Link(0, {}, lambda link: None, lambda link: None)
    link.connection_made(sink)
    await asyncio.sleep(0)
    link.data_received(links._HEADER.pack(6, links.HELLO, 0) + links._HELLO.pack(links.VERSION, 1))
    sink.sends.clear()
    for _ in range(50):
        link.post(TOLD, b"x")
    await asyncio.sleep(0)
    assert [len(each) for each in sink.sends] == [50 * (links._HEADER.size + 1)]


async def test_a_handler_that_fails_fails_its_own_request_only_and_says_nothing_of_the_inside(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, _, _):
        bad, unknown, good = (asked(peer.request, kind, b"x") for kind in (BAD, 200, ECHO))
        with pytest.raises(LinkFault) as fault:
            await bad
        assert "secret" not in str(fault.value)
        with pytest.raises(LinkFault):
            await unknown
        assert await good == b"x"


async def test_a_process_that_does_not_read_is_refused_more_and_gets_all_that_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "UNREAD_BYTES_MAX", 4 << 20)
    async with pair(tmp_path) as (peer, other, listener):
        await wait_until(lambda: listener.links, "the other end")
        (deaf,) = listener.links
        assert deaf._transport is not None
        deaf._transport.pause_reading()
        replies, refused = [], 0
        for _ in range(20):
            reply = asked(peer.request, ECHO, bytes(1 << 20))
            await asyncio.sleep(0)
            if reply.done() and isinstance(reply.exception(), LinkRefused):
                refused += 1
                assert "does not read" in str(reply.exception())
            else:
                replies.append(reply)
        assert refused >= 10
        deaf._transport.resume_reading()
        assert [len(each) for each in await asyncio.gather(*replies)] == [1 << 20] * len(replies)
        assert len(other.seen) == len(replies)


async def test_too_many_unanswered_requests_and_too_large_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path) as (peer, other, _):
        monkeypatch.setattr(links, "UNANSWERED_MAX", 2)
        monkeypatch.setattr(links, "FRAME_BYTES_MAX", 40)
        kept = [asked(peer.request, KEEP, b"1"), asked(peer.request, KEEP, b"2")]
        for payload, why in ((b"3", "2 requests wait"), (bytes(41), "40 bytes at most")):
            with pytest.raises(LinkRefused, match=why):
                await asked(peer.request, KEEP, payload)
        with pytest.raises(LinkRefused):
            peer.post(TOLD, bytes(41))
        await wait_until(lambda: len(other.owed) == 2, "the requests")
        other.owed[0](bytes(40))
        assert await kept[0] == bytes(40)
        other.owed[1](bytes(41))
        with pytest.raises(LinkFault, match="too large"):
            await kept[1]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (links._HEADER.pack(6, links.HELLO, 0) + links._HELLO.pack(links.VERSION + 1, 5), "restart the host"),
        (links._HEADER.pack(1, TOLD, 0) + b"x", "no hello"),
        (links._HEADER.pack(links.FRAME_BYTES_MAX + 1, links.HELLO, 0), "is the most"),
    ],
)
async def test_who_does_not_speak_this_version_is_cut_off(
    first: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Other()
    listener = await listen(tmp_path / "s", 1, other.handlers)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(first)
    assert len(await asyncio.wait_for(reader.read(), 5)) == links._HEADER.size + 6  # its hello, then the end
    assert (other.seen, listener.links) == ([], set())
    assert why in capsys.readouterr().err
    writer.close()
    listener.close()


async def test_the_socket_is_for_this_user_only_and_replaces_a_dead_ones(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)  # beyond what a socket's address holds
    folder.mkdir()
    path = folder / "worker-1.sock"
    for _ in range(2):  # nobody removes the first one's file
        listener = await listen(path, 1, Other().handlers)
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        peer = Peer(path, 0, {})
        peer.start()
        assert await asked(peer.request, ECHO, b"x") == b"x"
        await peer.close()
        listener.close()


_WORKER = """
import asyncio, sys
from pathlib import Path
from host.cluster.peer import listen

async def main():
    def echo(link, payload, reply):
        reply(payload + b" by %d" % int(sys.argv[2]))
    def keep(link, payload, reply):
        print(payload.decode(), flush=True)
    await listen(Path(sys.argv[1]), 1, {100: echo, 101: keep})
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def worker(path: Path, life: int) -> subprocess.Popen[str]:
    """A process that listens, echoes with the number of its `life`, and prints what it keeps."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(path), str(life)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def test_what_was_sent_to_a_killed_process_fails_and_what_came_after_waits_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.sock"
    lost: list[int | None] = []
    first = await asyncio.to_thread(worker, path, 1)
    peer = Peer(path, 0, {}, on_lost=lambda link: lost.append(link.peer))
    peer.start()
    second = None
    try:
        assert await asked(peer.request, ECHO, b"done") == b"done by 1"
        sent = [asked(peer.request, KEEP, b"%d" % number) for number in range(3)]
        assert first.stdout is not None
        assert [await asyncio.to_thread(first.stdout.readline) for _ in sent] == ["0\n", "1\n", "2\n"]
        os.kill(first.pid, signal.SIGKILL)
        for reply in sent:
            with pytest.raises(LinkLost):
                await asyncio.wait_for(reply, 5)
        order: list[bytes | LinkError] = []
        for number in range(3):
            peer.request(ECHO, b"%d" % number, order.append)
        assert (lost, peer.waiting) == ([1], 3)
        second = await asyncio.to_thread(worker, path, 2)
        await wait_until(lambda: len(order) == 3, "the replies of its successor")
        assert order == [b"0 by 2", b"1 by 2", b"2 by 2"]
        second.kill()
        assert second.stdout is not None
        assert await asyncio.to_thread(second.stdout.read) == ""  # nothing was sent twice
    finally:
        await peer.close()
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


async def test_a_request_does_not_wait_for_ever_nor_with_too_many_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.cluster.peer.WAITING_MAX", 2)
    peer = Peer(tmp_path / "nobody.sock", 0, {}, patience_s=0.05)
    peer.start()
    waiting = [asked(peer.request, ECHO, b"x") for _ in range(2)]
    with pytest.raises(LinkRefused, match="too much waits"):
        await asked(peer.request, ECHO, b"x")
    for reply in waiting:
        with pytest.raises(LinkRefused, match="did not come back"):
            await asyncio.wait_for(reply, 5)
    last = asked(peer.request, ECHO, b"x")
    await peer.close()
    with pytest.raises(LinkRefused, match="stopping"):
        await last


async def test_a_process_that_moved_gets_what_waited_and_what_was_sent_before_is_still_answered(tmp_path: Path) -> None:
    async with pair(tmp_path) as (peer, old, _):
        successor = Other()
        listener = await listen(tmp_path / "next.sock", 1, successor.handlers)
        sent = asked(peer.request, KEEP, b"sent")
        await wait_until(lambda: old.owed, "the request")
        peer.hold(1)
        held = [asked(peer.request, ECHO, b"%d" % number) for number in range(3)]
        urgent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        peer.request(ECHO, b"urgent", lambda outcome: urgent.set_result(cast(bytes, outcome)), urgency=1)
        assert await urgent == b"urgent"
        assert (peer.waiting, peer.unanswered) == (3, 1)
        left = peer.link
        peer.move(tmp_path / "next.sock")
        assert await asyncio.gather(*held) == [b"0", b"1", b"2"]
        assert (old.seen, successor.seen) == ([b"sent", b"urgent"], [b"0", b"1", b"2"])
        assert left is not None
        assert left.open, "a link with a request under way was closed"
        old.owed[0](b"late")
        assert await sent == b"late"
        await wait_until(lambda: not left.open, "the old link's end")
        listener.close()


async def test_a_process_that_moves_while_it_is_looked_for_is_found_at_its_new_place(tmp_path: Path) -> None:
    other = Other()
    peer = Peer(tmp_path / "nobody.sock", 0, {})
    peer.start()
    reply = asked(peer.request, ECHO, b"x")
    await asyncio.sleep(0)
    listener = await listen(tmp_path / "there.sock", 1, other.handlers)
    peer.move(tmp_path / "there.sock")
    assert await asyncio.wait_for(reply, 5) == b"x"
    await peer.close()
    listener.close()


async def test_a_socket_that_listens_already_is_taken_over(tmp_path: Path) -> None:
    given = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    given.bind(str(tmp_path / "given.sock"))
    given.listen()
    listener = await listen(given, 1, Other().handlers)
    peer = Peer(tmp_path / "given.sock", 0, {})
    peer.start()
    assert await asked(peer.request, ECHO, b"x") == b"x"
    await peer.close()
    listener.close()


class _Sink(asyncio.Transport):
    """A transport that keeps what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sends: list[bytes] = []

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.sends.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0
