"""Who runs when. All guests of a process share one event loop, in rounds.

A round polls ready calls, taking turns between tenants, until none is ready or the round has lasted `ROUND_S` (what has
begun goes before what would take one more instance, so few are in use at once and those stay in the cache); then
`round_end` runs (the committer's flush, so that all turns of a round share one sync). While several tenants are about,
rounds are shorter, and a guest that takes long ends its round: what has ended leaves before it, and a request that
arrives meanwhile is read after it.

A guest that has burned more than `BURN_AFTER_S` of CPU time is polled on a background thread from then on: wasm runs
without the interpreter's lock, so it slows nobody, until its export returns or its CPU limit stops it. While several
tenants are about, the guests of one that has had its share of the loop in long slices go there at once, because many
guests that each burn a little would fill the loop as well as one that burns much. There, too, tenants take turns (a
hundred spinning guests of one leave another's long computation half of that thread), and within a tenant those that
came lately go first.

Wall-clock limits cost no timer each: calls with the same limit end in the order they began, so one queue for each
length and one sweep every `SWEEP_S` are enough. Limits are therefore late by up to that.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, MutableSequence
from time import perf_counter, thread_time

from host.model.clock import Clock, TimerHandle
from host.sandbox.call import FAILED, Call
from host.sandbox.engine import Engine
from host.sandbox.fair import TURN_S, Allowance, FairQueue
from host.sandbox.outcome import Outcome
from host.telemetry import log

ROUND_S = 0.012
SHARED_ROUND_S = 0.003
COMPANY_S = 0.5
"""For so long after two tenants were seen rounds are the shorter ones."""
BURN_AFTER_S = 0.004
LATELY_S = 0.05
"""CPU time up to which a guest on the background thread goes before those of its tenant that have used more."""
LOOP_SHARE, LOOP_BURST_S = 0.1, 0.02
"""What a tenant's long slices may take of the loop's time in company. Beyond, its guests begin in the background."""
BURNER_NICE = 5
"""More than the loop's nice value: where cores are few the loop goes first. Not much more: the burner, too, holds the
interpreter's lock for moments.
"""
SWEEP_S = 0.05

_log = log.get("sandbox")


class Scheduler:
    """One per event loop. `round_end` callables run at the end of every round.

    `marks` say what runs, for whoever looks when this process has died: of the loop, and of the background thread.
    """

    def __init__(self, engine: Engine, clock: Clock, marks: MutableSequence[int] | memoryview | None = None) -> None:
        self.engine = engine
        self.clock = clock
        self.marks = [0, 0] if marks is None else marks
        self.round_end: list[Callable[[], None]] = []
        self.loop = asyncio.get_running_loop()
        self._ready: FairQueue[Call] = FairQueue()
        self._allowance = Allowance(LOOP_SHARE, LOOP_BURST_S)
        self._changes = 0
        self._company_until = 0.0
        self.rounds = 0
        self._scheduled = False
        self._deadlines: dict[float, dict[Call, float]] = {}
        self._lengths: dict[Call, float] = {}
        self._sweeper: TimerHandle | None = None
        self._burner = Burner(self)
        self._paused = False
        self._round_owed = False
        self._alone = True
        self._closed = False

    @property
    def calls(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._lengths)

    def submit(self, call: Call) -> None:
        """`call` has something to run. Nothing happens when it is queued or being polled already. The loop only."""
        if call.owned:
            return
        call.owned = True
        self._ready.push(call.tenant, call, call.acquire is not None)
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._round)

    def pause(self) -> None:
        """Until `resume` no guest runs on the loop and no call ends. One in the background burns on, and what comes of
        it waits.
        """
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self.burned()
        if self._round_owed:
            self._round_owed = False
            self.loop.call_soon(self._round)

    def _round(self) -> None:
        if self._paused:
            self._round_owed = True
            return
        ready, now = self._ready, perf_counter()
        self.rounds += 1
        if ready.changes != self._changes:
            self._changes = ready.changes
            self._company_until = now + COMPANY_S
        alone = self._alone = now > self._company_until
        end, long_s = (now + ROUND_S, ROUND_S) if alone else (now + SHARED_ROUND_S, TURN_S)
        while ready:
            if self._run(ready.pop()) > long_s or perf_counter() > end:
                break
            if not alone and ready.all_owe():  # what has ended need not wait for what may take long
                break
        self.marks[0] = 0
        self._end_round()
        self._scheduled = bool(ready)
        if self._scheduled:
            self.loop.call_soon(self._round_after_input)

    def _round_after_input(self) -> None:
        """What the loop has just read becomes calls before the next round, not after it."""
        self.loop.call_soon(self._round)

    def _end_round(self) -> None:
        for callback in self.round_end:
            try:
                callback()
            except Exception as error:  # the next round must come all the same
                _log.exception("round_end_failed", error)

    def _run(self, call: Call) -> float:
        """Poll `call` once. The seconds that its guest took."""
        call.owned = False
        if call.ended:
            return 0.0
        self.marks[0] = call.world.mark
        before = call.cpu_s
        try:
            if not call.begin_next():
                return 0.0
            if not self._alone and self._allowance.is_spent(call.tenant):
                call.owned = True
                self._burner.take(call)
                return 0.0
            returned = call.run_slice()
            if call.cpu_s - before > TURN_S:
                self._ready.charge(call.tenant, call.cpu_s - before)
                self._allowance.spend(call.tenant, call.cpu_s - before)
            if returned:
                call.after_return()
                return call.cpu_s - before
            self.engine.was_cut()
            if call.over_cpu():
                call.finish_over_cpu()
            elif call.cpu_s > BURN_AFTER_S:
                call.owned = True
                self._burner.take(call)
            else:
                self.submit(call)
        except Exception as error:
            _failed(call, error)
        return call.cpu_s - before

    # Background polling.

    @property
    def in_background(self) -> int:
        """Guests that the background thread has."""
        return self._burner.count

    def burning(self, call: Call) -> bool:
        return self._burner.holds(call)

    def burned(self) -> None:
        """The background thread is through with some calls: they returned, or are to be killed. The loop only."""
        if self._paused:
            return
        done = self._burner.done
        if done:
            while done:
                self._burned(*done.popleft())
            self._end_round()

    def _burned(self, call: Call, returned: bool) -> None:
        self._burner.drop(call)
        call.owned = False
        try:
            if call.ended:
                return
            if call.kill is not None:
                call.finish(call.kill)
            elif returned:
                call.after_return()
            else:
                call.finish_over_cpu()
        except Exception as error:
            _failed(call, error)

    # Wall-clock limits.

    def watch(self, call: Call, wall_s: float) -> None:
        """(Re)start the wall-clock limit of `call`. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the scheduler is closed")
        self.forget(call)
        self._deadlines.setdefault(wall_s, {})[call] = self.clock.monotonic() + wall_s
        self._lengths[call] = wall_s
        if self._sweeper is None:
            self._sweeper = self.clock.call_later(SWEEP_S, self._sweep)

    def forget(self, call: Call) -> None:
        wall_s = self._lengths.pop(call, None)
        if wall_s is not None:
            queue = self._deadlines[wall_s]
            del queue[call]
            if not queue:
                del self._deadlines[wall_s]

    def _sweep(self) -> None:
        self._sweeper = None
        if self._paused:
            self._sweeper = self.clock.call_later(SWEEP_S, self._sweep)
            return
        now = self.clock.monotonic()
        for queue in list(self._deadlines.values()):
            overdue = []
            for call, deadline in queue.items():
                if deadline > now:
                    break
                overdue.append(call)
            for call in overdue:
                call.overdue()
        if self._lengths:
            self._sweeper = self.clock.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Cancel every call and stop the background thread. The loop only."""
        if self._closed:
            return
        self._burner.close()
        while self._lengths:  # an end may begin another call
            for call in list(self._lengths):
                call.cancel()
                if call.kill is not None:  # it was to end when the background thread lets go of it
                    call.finish(call.kill)
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()


class Burner:
    """The background thread that polls guests which burn CPU, a slice at a time, tenants in turns."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held: set[Call] = set()
        self._queue: FairQueue[Call] = FairQueue()
        self.done: deque[tuple[Call, bool]] = deque()
        """Calls that the loop is to take back, and whether their exports have returned."""
        self._condition = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def count(self) -> int:
        return len(self._held)

    def holds(self, call: Call) -> bool:
        return call in self._held

    def drop(self, call: Call) -> None:
        self._held.discard(call)

    def take(self, call: Call) -> None:
        self._held.add(call)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="burner", daemon=True)
            self._thread.start()
        with self._condition:
            self._queue.push(call.tenant, call, call.cpu_s > LATELY_S)
            self._condition.notify()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + BURNER_NICE)  # of this thread alone
        while True:
            with self._condition:
                while not self._queue and not self._stopping:
                    self._condition.wait()
                if self._stopping:
                    return
                call = self._queue.pop()
            self._scheduler.marks[1] = call.world.mark
            before = call.cpu_s
            returned = call.kill is None and call.run_slice(thread_time)
            self._scheduler.marks[1] = 0
            if returned or call.kill is not None or call.over_cpu():
                self.done.append((call, returned))
                if len(self.done) == 1:  # else the loop has been told
                    self._scheduler.loop.call_soon_threadsafe(self._scheduler.burned)
            else:
                self._scheduler.engine.was_cut()
                with self._condition:
                    self._queue.charge(call.tenant, call.cpu_s - before)
                    self._queue.push(call.tenant, call, call.cpu_s > LATELY_S)

    def close(self) -> None:
        """After this no guest is polled in the background; the calls it held can be killed."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
        self._held.clear()


def _failed(call: Call, error: Exception) -> None:
    _log.exception("call_failed", error)
    call.stop(Outcome("crashed", message=FAILED))
