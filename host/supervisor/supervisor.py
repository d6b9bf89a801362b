"""The life of a host's workers: each slot has one that serves, whatever happens to the one before.

    starting -> serving -> (died) -> waiting -> starting ...

A worker that dies is replaced at once; one that dies again and again waits longer each time, and says so; meanwhile a
neighbour takes the requests of its slot. The listening socket of each slot is kept open here and by every worker, so
connections that come while nobody takes them wait in the kernel and are not refused.

A shard is open in one process only. So a replacement that is not for a death gets ready first, without its shards; then
calls for them are held by the other workers, the old worker ends its turns and closes the shards, and the new one opens
them and gets what was held.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from host.cluster.kinds import Kind
from host.cluster.link import Handlers
from host.model.errors import TenureError
from host.supervisor.asking import Way
from host.supervisor.blame import Blame, may_be_a_guests_doing, memory_kills
from host.supervisor.marks import of_slot
from host.supervisor.nursery import Nursery, NurseryLost
from host.supervisor.process import StartFailed, WorkerHandle
from host.supervisor.spec import Spec
from host.supervisor.staff import Staff
from host.telemetry import log

GRACE_S = 10.0
"""For requests and turns that are under way when the host stops."""

REQUESTS_GRACE_S, TURNS_GRACE_S = 30.0, 5.0
"""The same when a worker is replaced: a neighbour takes new requests meanwhile, but turns keep others waiting."""

ASKED_S = 10.0
"""For an answer of a worker that has nothing to wait for."""

LIVED_S = 2.0
"""A worker that served for less died "again": from the third in a row on, its successor has to wait."""

SHORT_LIVES_FREE = 2
PAUSE_FIRST_S, PAUSE_S_MAX = 0.5, 15.0

_log = log.get("supervisor")


class Slot:
    """One place for a worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.handle: WorkerHandle | None = None
        self.state = "starting"
        self.began = 0.0
        self.short_lives = 0
        self.restarts = 0
        self.change = asyncio.Lock()

    def died(self, now: float) -> float:
        """Note a death; how many seconds its successor has to wait."""
        self.short_lives = self.short_lives + 1 if now - self.began < LIVED_S else 0
        excess = self.short_lives - SHORT_LIVES_FREE
        return 0.0 if excess <= 0 else min(PAUSE_FIRST_S * 2 ** (excess - 1), PAUSE_S_MAX)


class Shown(NamedTuple):
    """A worker in `tenure status`."""

    slot: int
    state: str
    pid: int | None
    restarts: int


class Supervisor:
    """`spec_of(slot, token)` is what a worker that is started now gets; `handlers` are for what workers post.
    `sockets` are one for each slot, or two, those for TLS after all others; `sealed()` are descriptors that a worker
    gets after them. `await refuse(mark)` puts a version in quarantine; it does not raise.

    Everything runs on the loop.
    """

    def __init__(
        self,
        spec_of: Callable[[int, str], Spec],
        sockets: list[socket.socket],
        nursery: Nursery,
        staff: Staff,
        handlers: Handlers,
        marks: memoryview,
        refuse: Callable[[int], Awaitable[None]],
        slots: int,
        sealed: Callable[[], list[int]] = list,
    ) -> None:
        self._spec_of = spec_of
        self._sockets = sockets
        self._nursery = nursery
        self._staff = staff
        self._handlers = {**handlers, Kind.REPLACE_ME: self._replace_asked}
        self._marks = marks
        self._refuse = refuse
        self._sealed = sealed
        self._blame = Blame()
        self._memory_kills = memory_kills()
        self._slots = [Slot(number) for number in range(slots)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._covered = False

    def shown(self) -> list[Shown]:
        return [
            Shown(
                slot.number, slot.state, None if handle is None or handle.ended.is_set() else handle.pid, slot.restarts
            )
            for slot in self._slots
            for handle in (slot.handle,)
        ]

    # --- start and stop -----------------------------------------------------------------------------------------------

    async def start(self, adopted: dict[int, WorkerHandle]) -> None:
        """A worker serves in each slot when this returns. Raises StartFailed, NurseryLost, OSError."""
        for number, handle in adopted.items():
            slot = self._slots[number]
            slot.handle, slot.state = handle, "serving"
        fresh = [slot for slot in self._slots if slot.handle is None]
        await asyncio.gather(*(self._fork(slot) for slot in fresh))
        await asyncio.gather(*(self._begin(slot) for slot in fresh))
        for slot in self._slots:
            self._do(self._keep(slot))
        for number, handle in adopted.items():
            await handle.ready()
            handle.serves()
            await self._tell_peers(number)
        stale = [slot for slot in self._slots if slot.number in adopted and not self._is_current(slot)]
        if stale:
            self._do(self._reload(stale))

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """All workers end what they have begun, make it durable, answer, and end."""
        self._stopping = True
        handles = [slot.handle for slot in self._slots if slot.handle is not None and not slot.handle.ended.is_set()]
        await asyncio.gather(*(_asked(handle, Kind.QUIET, grace_s) for handle in handles))
        await asyncio.gather(*(_asked(handle, Kind.LEAVE, grace_s) for handle in handles))
        await asyncio.gather(*(handle.end(grace_s) for handle in handles))
        await self.close()

    async def close(self) -> None:
        """Look after the workers no longer; those that are alive stay so."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self._slots:
            if slot.handle is not None:
                await slot.handle.close()

    # --- deaths -------------------------------------------------------------------------------------------------------

    async def _keep(self, slot: Slot) -> None:
        """Replace whatever dies in `slot`."""
        while not self._stopping:
            handle = slot.handle
            assert handle is not None
            await handle.ended.wait()
            async with slot.change:
                if slot.handle is handle and not self._stopping:
                    await self._replace_dead(slot, handle)

    async def _replace_dead(self, slot: Slot, dead: WorkerHandle) -> None:
        began = time.monotonic()
        slot.state = "starting"
        pause_s = slot.died(began)
        status = await self._nursery.status(dead.pid)
        _log.error("worker_died", slot=slot.number, pid=dead.pid, how=_how(status), pause_s=pause_s)
        await dead.close()
        if await self._quarantined(slot, status):
            pause_s = slot.short_lives = 0
        if pause_s:
            slot.state = "waiting"
            await self._cover()
            await asyncio.sleep(pause_s)
            slot.state = "starting"
        try:
            await self._fork(slot)
            await self._begin(slot)
        except (StartFailed, NurseryLost, OSError) as error:
            _log.error("worker_not_started", slot=slot.number, error=error)
            if slot.handle is not None:
                slot.handle.signal(signal.SIGKILL)  # its end brings us here again
            return
        slot.restarts += 1
        _log.info("worker_back", slot=slot.number, seconds=round(time.monotonic() - began, 3))

    async def _quarantined(self, slot: Slot, status: int | None) -> bool:
        """Whether a version was found to be the reason."""
        marks = of_slot(self._marks, slot.number)
        ran = list(marks)
        marks[0] = marks[1] = 0
        memory_before, self._memory_kills = self._memory_kills, memory_kills()
        if not may_be_a_guests_doing(status, self._memory_kills > memory_before):
            return False
        mark = self._blame.died(ran, time.monotonic())
        if mark is None:
            return False
        await self._refuse(mark)
        return True

    async def _cover(self) -> None:
        """One worker takes the requests of all slots that nobody serves just now, if there are any."""
        away = [slot.number for slot in self._slots if slot.state in ("waiting", "replacing")]
        if not away and not self._covered:
            return
        self._covered = bool(away)
        serving = [slot.handle for slot in self._slots if slot.state == "serving" and slot.handle is not None]
        for number, handle in enumerate(serving):
            await _asked(handle, Kind.COVER, [] if number else away)

    async def _fork(self, slot: Slot) -> None:
        """Raises NurseryLost, OSError."""
        slot.began = time.monotonic()
        slot.handle = await self._forked(slot)

    async def _forked(self, slot: Slot) -> WorkerHandle:
        spec = self._spec_of(slot.number, secrets.token_hex(4))
        descriptors = [*(sock.fileno() for sock in self._sockets), *self._sealed()]
        born = await self._nursery.fork(spec.to_json(), descriptors)
        return WorkerHandle(spec, born, self._staff, self._handlers)

    async def _begin(self, slot: Slot) -> None:
        """Let the worker in `slot` open its shards and take requests. Raises StartFailed."""
        handle = slot.handle
        assert handle is not None
        await handle.ready()
        try:
            refusal = await handle.ask(Kind.BEGIN, self._peers())
        except TenureError as error:
            raise StartFailed(error.detail) from error
        if refusal is not None:
            raise StartFailed(refusal)
        handle.serves()
        slot.state = "serving"
        await self._tell_peers(slot.number)
        await self._cover()

    def _peers(self) -> dict[int, str]:
        return {slot.number: str(slot.handle.spec.peer_path) for slot in self._slots if slot.handle is not None}

    async def _tell_peers(self, number: int) -> None:
        """All others reach slot `number` where it is now."""
        path = self._peers()[number]
        others = [slot.handle for slot in self._slots if slot.number != number and slot.state == "serving"]
        await asyncio.gather(*(_asked(handle, Kind.PEERS, {number: path}) for handle in others if handle is not None))

    # --- replacing what is alive --------------------------------------------------------------------------------------

    async def reload(self) -> int:
        """Replace all workers, one by one. Returns how many. Raises StartFailed: the worker it was at serves on."""
        await self._reload(self._slots)
        return len(self._slots)

    async def _reload(self, slots: list[Slot]) -> None:
        for slot in slots:
            async with slot.change:
                if not self._stopping and slot.handle is not None and not slot.handle.ended.is_set():
                    await self._replace(slot, slot.handle)

    async def _replace(self, slot: Slot, old: WorkerHandle) -> None:
        began = time.monotonic()
        new = await self._forked(slot)
        try:
            await new.ready()
        except StartFailed:
            new.signal(signal.SIGKILL)
            await new.close()
            raise
        slot.state = "replacing"
        await self._cover()
        await _asked(old, Kind.QUIET, REQUESTS_GRACE_S)
        others = [other.handle for other in self._slots if other is not slot and other.state == "serving"]
        hold = [slot.number, TURNS_GRACE_S]
        await asyncio.gather(*(_asked(handle, Kind.HOLD, hold) for handle in others if handle is not None))
        await _asked(old, Kind.LEAVE, TURNS_GRACE_S)
        slot.handle, slot.began = new, time.monotonic()
        try:
            await self._begin(slot)
        except StartFailed:
            new.signal(signal.SIGKILL)  # its end makes `_keep` start another
            raise
        finally:
            self._do(_see_off(old))
        _log.info("worker_replaced", slot=slot.number, seconds=round(time.monotonic() - began, 3))

    def _replace_asked(self, link: Any, _payload: bytes, _reply: Any) -> None:
        """A worker was told by somebody else to end."""
        slots = [slot for slot in self._slots if slot.number == link.peer]
        if not self._stopping:
            self._do(self._reload(slots))

    def silent(self, way: Way) -> None:
        """A worker does not follow what serves: better none, and then a new one."""
        for slot in self._slots:
            if slot.handle is not None and slot.handle.is_reached_by(way):
                slot.handle.signal(signal.SIGKILL)

    def _is_current(self, slot: Slot) -> bool:
        handle = slot.handle
        return handle is not None and handle.spec.same_but_for_token(self._spec_of(slot.number, ""))

    def _do(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.exception("supervising_failed", error)


async def _asked(handle: WorkerHandle, kind: Kind, question: Any) -> None:
    """Ask, and go on whatever the answer: a worker that has ended is looked after by its slot. A question that is a
    number is a grace in seconds, which it may take besides.
    """
    waits = [asyncio.ensure_future(one) for one in (handle.ask(kind, question), handle.ended.wait())]
    within_s = ASKED_S + (question if isinstance(question, float) else 0.0)
    await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _how(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "unknown"
    code = os.waitstatus_to_exitcode(status)
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


async def _see_off(handle: WorkerHandle) -> None:
    await handle.end(GRACE_S)
    await handle.close()
