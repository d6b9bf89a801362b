"""`fetch` from guests: which are under way in this process, and when each may leave.

A fetch that an actor starts leaves only after everything committed so far is durable, like its replies. Where it may
go is `bindings.fetching`'s; in a host of several processes another process makes it (`bindings.egress`).

Bounds: fetches at once in the process, and of one tenant.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from host.bindings.ports import Ask, Fetching, Refused
from host.model.clock import TimerHandle
from host.model.errors import StorageBroken
from host.model.limits import Limits
from host.model.message import HttpRequest, HttpResponse
from host.telemetry import log

AT_ONCE_MAX, AT_ONCE_OF_A_TENANT_MAX = 512, 128

_log = log.get("outbound")

Done = Callable[[HttpResponse | None, str], None]
"""Called with the response, or with None and why there is none (a sentence for the guest)."""


class Outbound:
    """All outbound fetches of a process. Everything runs on the loop."""

    def __init__(self, drain: Callable[[], Awaitable[None]], fetcher: Fetching) -> None:
        self._drain = drain
        self._fetcher = fetcher
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_tenant: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def fetch(
        self, tenant: str, request: HttpRequest, allow: tuple[str, ...], redirect: str, limits: Limits, done: Done
    ) -> TimerHandle | None:
        """Start a fetch; returns what cancels it. `redirect` is follow, error or manual."""
        if len(self._tasks) >= AT_ONCE_MAX or self._of_tenant[tenant] >= AT_ONCE_OF_A_TENANT_MAX:
            done(None, "too many fetches are under way: try again when some have ended")
            return None
        ask = Ask(request, allow, redirect, limits.request_wall_s, limits.body_bytes_max)
        task = asyncio.ensure_future(self._run(ask, done))
        self._tasks.add(task)
        self._of_tenant[tenant] += 1
        task.add_done_callback(partial(self._ended, tenant))
        return _Handle(task)

    def _ended(self, tenant: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._of_tenant[tenant] -= 1
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]

    async def _run(self, ask: Ask, done: Done) -> None:
        try:
            await self._drain()
            response = await self._fetcher.fetch(ask)
        except Refused as refused:
            done(None, str(refused))
        except StorageBroken:
            done(None, "what was written before this fetch could not be made durable")
        except Exception as error:
            _log.exception("fetch_failed", error)
            done(None, "the host could not make it")
        else:
            done(response, "")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fetcher.close()


class _Handle:
    """Cancels a fetch."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()
